"""Submodules: what `.gitmodules` says of them, and where they come from. Pure.

The file comes from strangers, and git's own `git submodule` has run their programs more than once (CVE-2018-11235,
CVE-2019-19604, CVE-2024-32002, CVE-2025-48384). So it is not used: a submodule is one more mirror, its tree is put into
the tree of the commit, and of a submodule only its path (which must be that of a gitlink) and its URL count.
"""

from __future__ import annotations

from lumper.errors import SourceRefused
from lumper.model.source import GitUrl, parse_git_url

_SHOWN = 200


def parse_modules(listing: bytes) -> dict[str, str]:
    """From paths to URLs, out of `git config --list -z`: records `key LF value NUL` (git-config(1), "-z")."""
    paths: dict[str, str] = {}
    urls: dict[str, str] = {}
    for record in listing.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = record.partition("\n")
        if key.startswith("submodule.") and key.endswith(".path"):
            paths[key.removesuffix(".path")] = value
        elif key.startswith("submodule.") and key.endswith(".url"):
            urls[key.removesuffix(".url")] = value
    return {path.strip("/"): urls[name] for name, path in paths.items() if name in urls}


def submodule_url(text: str, parent: GitUrl) -> GitUrl:
    """The URL of a submodule of the repository at `parent`, which it may be relative to (gitmodules(5), "url").

    Raises SourceRefused for what a project could not have either, and for local paths: only one beside a local project.
    """
    whole = _joined(text, parent) if text.startswith(("./", "../")) else text
    url = parse_git_url(whole)
    if url.local and not (parent.local and _folder(url.url) == _folder(parent.url)):
        raise SourceRefused(f"The submodule at {text[:_SHOWN]!r} is a local path.", hint="Give it a relative URL.")
    return url


def _folder(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0]


def _joined(text: str, parent: GitUrl) -> str:
    base, rest, sign = parent.url.rstrip("/"), text, "/"
    least = len(base) - len(base.partition("://")[2].partition("/")[2]) if "://" in base else 1
    while rest.startswith(("./", "../")):
        up, _, rest = rest.partition("/")
        if up == "..":
            cut = max(base.rfind("/"), base.rfind(":") if "://" not in base else -1)
            if cut < least - 1:
                raise SourceRefused(f"The submodule at {text[:_SHOWN]!r} leaves its server.")
            base, sign = base[:cut], base[cut]
    return f"{base}{sign}{rest}"

"""The list of forges. A new forge needs its file in `adapters/` and its line here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pkgutil import resolve_name
from urllib.parse import urlsplit

from lumper.errors import NotFound
from lumper.forges.port import Forge

_CLASSES = {  # in the order in which people see them
    "github": "GitHub",
    "gitlab": "GitLab",
    "gitea": "Gitea",
    "forgejo": "Forgejo",
    "gogs": "Gogs",
    "bitbucket-cloud": "BitbucketCloud",
    "bitbucket-server": "BitbucketServer",
}

NAMES = f"{', '.join(list(_CLASSES)[:-1])} or {list(_CLASSES)[-1]}"


class Forges:
    """Forges by name."""

    def __init__(self, forges: Iterable[Forge]) -> None:
        self._forges = {forge.name: forge for forge in forges}

    def __iter__(self) -> Iterator[Forge]:
        return iter(self._forges.values())

    def get(self, name: str) -> Forge:
        """The forge of this name. Raises NotFound."""
        if name not in self._forges:
            raise NotFound(f"There is no forge {name!r}.", hint=f"Known are {', '.join(sorted(self._forges))}.")
        return self._forges[name]

    def likely(self, url: str) -> str:
        """The name of the forge that a git URL probably belongs to, "" if nothing in the URL says."""
        path = urlsplit(url).path
        host = (urlsplit(url).hostname or "") if "://" in url else url.partition("@")[2].partition(":")[0]
        host = host.lower()
        known = (forge.name for forge in self if host in forge.hosts)
        by_path = (forge.name for forge in self if any(part in path for part in forge.paths))
        by_word = (forge.name for forge in self if any(word in host for word in forge.words))
        return next(known, "") or next(by_path, "") or next(by_word, "")


def open_forges() -> Forges:
    """All forges."""
    names = (f"{name.replace('-', '_')}:{kind}" for name, kind in _CLASSES.items())
    return Forges(resolve_name(f"lumper.forges.adapters.{name}")() for name in names)

"""Where code comes from: projects, pushes and the verdict on a forge's delivery."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from lumper.errors import SourceRefused
from lumper.model.addresses import server_problem
from lumper.model.refs import branch_in, tag_in
from lumper.model.trigger import BuildRules

_SCP_LIKE = re.compile(r"(?P<user>[A-Za-z0-9_][\w.-]*)@(?P<host>[A-Za-z0-9][\w.-]*):(?P<path>[^:\s]+)")
_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")  # gitremote-helpers(7): `ext::` runs a program
_PATH_PART = re.compile(r"[\w.~+ -]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class GitUrl:
    """A git URL that is safe to hand to git.

    `url` has no credentials; `username` and `password` are what the given URL had. `path` is the
    repository's name at its host, without `.git`, such as `owner/name` or `group/sub/name`.
    """

    url: str
    host: str
    path: str
    username: str = ""
    password: str = field(default="", repr=False)
    local: bool = False


def parse_git_url(text: str) -> GitUrl:
    """Read http(s), ssh and scp-like URLs and absolute local paths; refuse everything else.

    Raises SourceRefused. Other transports can run programs or read this machine's files
    (CVE-2022-24439, CVE-2025-21613), and a leading dash would be an option.
    """
    if not text or text.startswith("-") or any(ord(c) < 33 or ord(c) == 127 for c in text) or _HELPER.match(text):
        raise SourceRefused(f"{text!r} is not a git URL that Lumper fetches from.")
    if text.startswith("/"):
        return GitUrl(url=text, host="", path=_repository_path(text, text), local=True)
    if match := _SCP_LIKE.fullmatch(text):
        path = _repository_path(match["path"], text)
        _check_server(match["host"], None)
        return GitUrl(url=text, host=match["host"].lower(), path=path)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise SourceRefused(f"{text!r} is not a URL: {exc}.") from exc
    if (
        parts.scheme not in ("http", "https", "ssh")
        or not host
        or host.startswith("-")
        or parts.query
        or parts.fragment
    ):
        raise SourceRefused(f"{_without_credentials(text)!r} is not a git URL that Lumper fetches from.")
    _check_server(host, port)
    username, password = parts.username or "", parts.password or ""
    if username.startswith("-"):
        raise SourceRefused("The user name in a git URL may not begin with a dash.")
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if parts.scheme == "ssh" and username:
        netloc, username, password = f"{username}@{netloc}", "", ""
    return GitUrl(
        url=f"{parts.scheme}://{netloc}{parts.path}",
        host=host.lower(),
        path=_repository_path(parts.path, text),
        username=unquote(username),  # RFC 3986, section 3.2.1: only in the URL their special characters are encoded
        password=unquote(password),
    )


def _check_server(host: str, port: int | None) -> None:
    if problem := server_problem(host, port):
        raise SourceRefused(f"Lumper does not connect to {host}: {problem}.")


def forge_url_of(text: str) -> str:
    """The URL of the forge that a git URL is probably of: its host by https, or as the URL says by http.

    >>> forge_url_of("git@git.example.org:owner/app.git"), forge_url_of("http://localhost:3000/owner/app")
    ('https://git.example.org', 'http://localhost:3000')
    """
    url = parse_git_url(text)
    parts = urlsplit(url.url) if "://" in url.url else None
    if parts is not None and parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}"
    return f"https://{url.host}" if url.host else ""


def _repository_path(path: str, text: str) -> str:
    name = path.strip("/").removesuffix(".git").strip("/")
    parts = name.split("/")
    if not name or any(part in (".", "..") or part.startswith("-") or not _PATH_PART.fullmatch(part) for part in parts):
        raise SourceRefused(f"{_without_credentials(text)!r} does not name a git repository.")
    return name


def _without_credentials(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", text)


@dataclass(frozen=True)
class Project:
    """A git repository that Lumper builds.

    `repository` is the name at the forge (`owner/name`); `image` the repository in the registry. Where a `forge` is
    named, Lumper has a token for its API at `forge_url`, for webhooks and statuses of commits. No secret is in here:
    who needs one asks for it. `webhook` is the forge's id of the webhook that Lumper has made there.
    """

    id: str
    name: str
    url: str
    repository: str
    image: str
    created_at: datetime
    username: str = ""
    local: bool = False
    rules: BuildRules = field(default_factory=BuildRules)
    forge: str = ""
    forge_url: str = ""
    webhook: str = ""


@dataclass(frozen=True)
class Person:
    """Who did something, as the forge or git names them. Either part may be empty."""

    name: str = ""
    email: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.name and self.email else self.name or self.email


@dataclass(frozen=True)
class Push:
    """A ref that moved at the forge. `before` and `commit` are object ids; all zeros mean "none"."""

    repository: str
    ref: str
    commit: str
    before: str = ""
    deleted: bool = False
    pusher: Person = field(default_factory=Person)
    urls: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The tag's name, or "" for any other ref."""
        return tag_in(self.ref)

    @property
    def branch(self) -> str:
        """The branch's name, or "" for any other ref."""
        return branch_in(self.ref)


class Verdict(StrEnum):
    """What becomes of a delivery."""

    BUILD = "build"
    IGNORED = "ignored"
    REFUSED = "refused"
    DUPLICATE = "duplicate"


def is_commit(text: str) -> bool:
    """Whether `text` is a whole SHA-1 or SHA-256 object id in lower case, and not the null id."""
    return bool(_COMMIT.fullmatch(text)) and set(text) != {"0"}


def is_safe_ref(ref: str) -> bool:
    """Whether git would accept `ref` as a full name (git-check-ref-format(1)), and no part begins with a dash."""
    if not ref.startswith("refs/") or len(ref) > 255 or ref.endswith(("/", ".")) or "//" in ref:
        return False
    if any(ord(c) < 33 or ord(c) == 127 or c in "~^:?*[\\" for c in ref) or ".." in ref or "@{" in ref:
        return False
    try:
        ref.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate from a JSON escape
        return False
    return not any(part.startswith((".", "-")) or part.endswith(".lock") for part in ref.split("/"))

"""A forge: repositories over HTTP, and signed deliveries to Lumper when a ref has moved."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lumper.cli.client import Client
from parts.engines.context import BUSYBOX
from parts.git import deliveries
from parts.git.git_repository import Repository
from parts.git.git_server import GitServer, git_server

_NULL = "0" * 40

PAGE_SERVER = """\
FROM scratch
COPY busybox /bin/busybox
COPY index.html /www/
RUN ["/bin/busybox", "sh", "-c", "echo built by a real shell"]
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
"""
"""A Dockerfile that needs nothing pulled: a busybox that serves a page."""


@dataclass(frozen=True)
class Answer:
    """What Lumper answered to a delivery."""

    status: int
    verdict: str
    reason: str
    builds: tuple[int, ...]


class ForgeProject:
    """One repository of the forge, and its webhook at a Lumper. `name` is unique among all that use the engine."""

    def __init__(self, name: str, repository: Repository, url: str) -> None:
        self.name = name
        self.repository = repository
        self.url = url
        self.hooks: dict[str, str] = {}
        self.secret = ""
        self._heads: dict[str, str] = {}

    def connect(self, client: Client, url: str = "") -> None:
        """Add the project at the Lumper, by another URL than its own if one is given, and remember the webhook."""
        added = client.post("projects", {"url": url or self.url})
        self.hooks, self.secret = added["hooks"], added["secret"]
        self.repository_name, self.name_at_lumper = added["repository"], added["name"]
        self.image = added["image"]

    def commit(self, files: Mapping[str, bytes | str] | None = None, *, busybox: bool = True) -> str:
        """A commit with these files, a Dockerfile, a page that is new each time, and a busybox; its id."""
        content: dict[str, bytes | str] = {"index.html": f"<p>{secrets.token_hex(8)}</p>\n", "Dockerfile": PAGE_SERVER}
        if busybox:
            content["busybox"] = BUSYBOX.read_bytes()
        return self.repository.commit(content | dict(files or {}), executables=("busybox",) if busybox else ())

    def push_tag(self, tag: str, files: Mapping[str, bytes | str] | None = None) -> Answer:
        """What happens when somebody tags a new commit and pushes the tag."""
        commit = self.commit(files)
        self.repository.tag(tag, commit)
        return self.deliver(f"refs/tags/{tag}", commit)

    def release(self, tag: str, files: Mapping[str, bytes | str] | None = None) -> int:
        """The same, for a delivery that must start a build; the build's id."""
        answer = self.push_tag(tag, files)
        assert (answer.status, answer.verdict) == (202, "build"), answer
        (build_id,) = answer.builds
        return build_id

    def deliver(
        self,
        ref: str,
        after: str,
        *,
        before: str = _NULL,
        forge: str = "gitea",
        delivery: str = "",
        secret: str | None = None,
    ) -> Answer:
        """Post the delivery of a ref that moved, signed with the project's secret unless another one is given."""
        body = json.dumps(self._payload(ref, before, after)).encode()
        secret = self.secret if secret is None else secret
        request = deliveries.made(forge, "push", body, secret=secret, delivery=delivery or str(uuid.uuid4()))
        return _post(self.hooks[forge], body, request.headers)

    def _payload(self, ref: str, before: str, after: str) -> dict[str, Any]:
        return {
            "ref": ref,
            "before": before,
            "after": after,
            "created": before == _NULL,
            "deleted": after == _NULL,
            "repository": {"full_name": self.repository_name, "clone_url": self.url},
            "pusher": {"login": "ada", "full_name": "Ada Lovelace", "email": "ada@example.org"},
        }


class Forge:
    """All repositories. `git` is how it answers git, to be put into bad moods by tests."""

    def __init__(self, git: GitServer, root: Path) -> None:
        self.git = git
        self._root = root

    def project(self, name: str = "shop") -> ForgeProject:
        """A new, empty repository."""
        unique = f"{name}-{secrets.token_hex(4)}"
        repository = Repository(self._root / "acme" / f"{unique}.git")
        return ForgeProject(unique, repository, self.git.url(f"acme/{unique}.git"))


@contextmanager
def serve_forge(root: Path) -> Iterator[Forge]:
    """A forge on loopback with its repositories under `root`."""
    with git_server(root) as git:
        yield Forge(git, root)


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    request = urllib.request.Request(url, body, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return _answer(response.status, response.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return _answer(exc.code, exc.read())


def _answer(status: int, body: bytes) -> Answer:
    told = json.loads(body)
    return Answer(status, told["verdict"], told["reason"], tuple(told["builds"]))

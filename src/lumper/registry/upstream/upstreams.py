"""Which repository is a cache of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from lumper.registry.remote.reference import HUB
from lumper.registry.remote.registry import RemoteRegistry


@dataclass(frozen=True)
class Upstream:
    """A registry whose repository `a/b` appears here as `prefix/a/b`.

    A tag is believed for `ttl` seconds; then who could be served what is here waits `patience` seconds for upstream.
    What nobody asks for goes after `keep` (None: stays). `only` are globs of its repositories, none for all; with
    `default` it also answers for names without a prefix that are not here.
    """

    prefix: str
    registry: RemoteRegistry
    ttl: float = 300.0
    keep: timedelta | None = None
    only: tuple[str, ...] = ()
    default: bool = False
    patience: float = 5.0

    def remote_name(self, repository: str) -> str:
        """What the repository `prefix/…` is called there."""
        name = repository.removeprefix(f"{self.prefix}/")
        return f"library/{name}" if "/" not in name and HUB in self.registry.url else name

    def serves(self, repository: str) -> bool:
        """Whether the repository `prefix/…` may be asked for there."""
        name = self.remote_name(repository)
        return not self.only or any(fnmatchcase(name, glob) for glob in self.only)


class Upstreams:
    """All of them, found by the names of repositories. `folder` is for blobs on their way."""

    def __init__(self, upstreams: Sequence[Upstream], folder: Path) -> None:
        self.folder = folder
        self._all = {one.prefix: one for one in upstreams}
        self._heads = frozenset(prefix.partition("/")[0] for prefix in self._all)
        self.default = next((one for one in upstreams if one.default), None)

    def of(self, repository: str) -> Upstream | None:
        """The upstream that the repository is a cache of; None for one of our own. Quick: every request asks."""
        head, slash, _ = repository.partition("/")
        if not slash or head not in self._heads:
            return None
        while (cut := repository.rfind("/")) > 0:
            repository = repository[:cut]
            if found := self._all.get(repository):
                return found
        return None

    def unused_after(self, repository: str) -> timedelta | None:
        """How long a cached image is kept that nobody asks for; None: it stays."""
        found = self.of(repository)
        return found.keep if found else None

    def named(self, namespace: str) -> Upstream | None:
        """The upstream for what containerd calls a namespace: the host in the name that a person has typed."""
        return self._all.get(namespace)

    async def close(self) -> None:
        """End all connections."""
        for one in self._all.values():
            await one.registry.close()

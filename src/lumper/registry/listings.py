"""Listings: the tags of a repository, the referrers of a manifest, the catalogue of repositories; page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lumper.model.images.image import Referrer
from lumper.model.people.rights import Rights
from lumper.registry.access import PULL
from lumper.registry.blobs import check_digest
from lumper.registry.errors import refuse
from lumper.registry.port import ListingMetadata

MOST = 1000  # entries of a page, whatever is asked for (GHSA-hqxw-f8mx-cpmw)


@dataclass(frozen=True)
class Page:
    """Names in lexical order. `more` tells whether others follow the last one."""

    names: list[str]
    more: bool


def page_size(text: str | None) -> int:
    """The size of a page from `n`, at most `MOST`. Raises RegistryError PAGE_INVALID."""
    if text is None:
        return MOST
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise refuse("PAGE_INVALID")
    return min(int(text), MOST)


class Listings:
    """The listings of the registry. Build-private tags are in none."""

    def __init__(self, metadata: ListingMetadata) -> None:
        self._metadata = metadata

    async def exists(self, repository: str) -> bool:
        """Whether there is such a repository."""
        return await self._metadata.tags(repository, limit=1) is not None

    async def tags(self, repository: str, last: str, size: int) -> Page:
        """The tags after `last`. Raises RegistryError NAME_UNKNOWN."""
        found = await self._metadata.tags(repository, last=_legal(last), limit=size + 1)
        if found is None:
            raise refuse("NAME_UNKNOWN", detail=repository)
        return _page([tag.name for tag in found], size)

    async def repositories(self, last: str, size: int, rights: Rights) -> Page:
        """The repositories after `last` that may be pulled with these rights."""
        if rights.everywhere:
            return _page(await self._metadata.repositories(last=_legal(last), limit=size + 1, holding=True), size)
        names: list[str] = []
        found = [_legal(last)]
        while found and len(names) <= size:
            found = await self._metadata.repositories(last=found[-1], limit=MOST, holding=True)
            names += [name for name in found if rights.allow(name, PULL)]
        return _page(names, size)

    async def referrers(
        self, repository: str, subject: str, artifact_types: Sequence[str], last: str, size: int
    ) -> tuple[list[Referrer], bool]:
        """The referrers of `subject` after the digest `last`, and whether more follow. A page has about 4 MiB at most.

        With `artifact_types` only those of one of these types. Raises RegistryError DIGEST_INVALID.
        """
        check_digest(subject)
        types = [_legal(one) for one in artifact_types]
        found, more = await self._metadata.referrers(
            repository, subject, artifact_types=types, last=_legal(last), limit=size
        )
        return found, more and size > 0


def _legal(text: str) -> str:
    """What comes before a NUL character, which databases do not take and no name has."""
    return text.partition("\0")[0]


def _page(names: list[str], size: int) -> Page:
    return Page(names[:size], more=0 < size < len(names))

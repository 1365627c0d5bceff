"""Listings: the tags of a repository and the catalogue of repositories, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from lumper.registry.errors import refuse
from lumper.registry.port import Metadata

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

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def tags(self, repository: str, last: str, size: int) -> Page:
        """The tags after `last`. Raises RegistryError NAME_UNKNOWN."""
        found = await self._metadata.tags(repository, last=last, limit=size + 1)
        if found is None:
            raise refuse("NAME_UNKNOWN", detail=repository)
        return _page([tag.name for tag in found], size)

    async def repositories(self, last: str, size: int) -> Page:
        """The repositories after `last`."""
        return _page(await self._metadata.repositories(last=last, limit=size + 1), size)


def _page(names: list[str], size: int) -> Page:
    return Page(names[:size], more=0 < size < len(names))

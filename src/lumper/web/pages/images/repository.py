"""One repository: its tags by the image that they point at, and what holds for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aiohttp import web

from lumper.line.history import History
from lumper.model.images.activity import Activity
from lumper.model.images.image import Manifest, Tag, version_key
from lumper.model.images.rules import Rule, words
from lumper.model.people.rights import Action
from lumper.registry.catalog.catalog import KnownManifest, Order
from lumper.registry.inspect.artifact_types import in_words, of_tag, short
from lumper.registry.manifest_format import INDEXES
from lumper.registry.registry import Registry
from lumper.web.pages.formats import size
from lumper.web.pages.images.names import allowed, nothing
from lumper.web.pages.site import Site

_TAGS = 100  # of a page
_READ = 8  # indexes that are read together
_MOST_BYTES = 64 << 10  # of an index that is read here: a hundred of 4 MB took a gigabyte


@dataclass(frozen=True)
class Version:
    """All tags that point at one digest, the longest (most exact) first."""

    digest: str
    tags: tuple[str, ...]
    updated_at: datetime
    build_id: int | None


@dataclass(frozen=True)
class Row:
    """A version as the page shows it. `known` is None if the image is not there; `told` is said of it by referrers.

    `frozen` are those of its tags that a rule makes immutable.
    """

    version: Version
    known: KnownManifest | None
    move: Activity | None
    told: Sequence[str]
    platforms: Sequence[str]
    frozen: frozenset[str]


def versions(tags: Iterable[Tag]) -> list[Version]:
    """The tags by digest, the newest first."""
    groups: dict[str, list[Tag]] = {}
    for tag in tags:
        groups.setdefault(tag.digest, []).append(tag)
    found = [_version(digest, group) for digest, group in groups.items()]
    return sorted(found, key=lambda version: version.updated_at, reverse=True)


def _version(digest: str, tags: list[Tag]) -> Version:
    names = sorted(
        (tag.name for tag in tags), key=lambda name: (name == "latest", version_key(name) is None, -len(name))
    )
    newest = max(tags, key=lambda tag: tag.updated_at)
    return Version(digest, tuple(names), newest.updated_at, newest.build_id)


class RepositoryPage:
    """The page."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry

    async def show(self, request: web.Request, name: str) -> web.Response:
        """Its tags by digest: all or those set last, by name page by page, or those that begin with a text."""
        wanted, last = (request.query.get(key, "").replace("\0", "")[:128] for key in ("q", "last"))
        wanted, order = wanted.strip(), _order(request.query.get("by", ""))
        held = next(iter(await self._history.catalog.summaries([name])), None)
        if held is None:
            raise nothing(name)
        tags = await self._history.catalog.named_tags(name, begin=wanted, last=last, limit=_TAGS + 1)
        more = tags[_TAGS - 1].name if len(tags) > _TAGS else ""
        by_name = bool(wanted or last or "by" in request.query)
        newest = await self._history.catalog.newest_tags(name, limit=_TAGS) if more and not by_name else []
        sorted_by = order if order and not (wanted or last or held.more_tags) else None
        if sorted_by:
            newest, by_name = await self._history.catalog.tags_by(name, sorted_by, limit=_TAGS), False
        rows = await self._rows(name, newest or tags[:_TAGS])
        if sorted_by:
            rows.sort(key=_KEYS[sorted_by])
        return self._site.render(
            request,
            "repository.html",
            name=name,
            rows=rows if newest or not (more or last) else sorted(rows, key=lambda row: min(row.version.tags)),
            held=held,
            newest=bool(newest),
            sorted_by=sorted_by,
            sortable=not held.more_tags,
            by_name=by_name,
            more="" if newest else more,
            last=last,
            wanted=wanted,
            upstream=self._registry.upstreams.of(name) if self._registry.upstreams else None,
            rules=await self._rules(name),
            may_delete=await self._may_delete(request, name),
        )

    async def _rows(self, name: str, tags: Sequence[Tag]) -> list[Row]:
        found = versions(tags)
        catalog, digests = self._history.catalog, [version.digest for version in found]
        moves = await catalog.last_moves(name, [version.tags[0] for version in found])
        known, told = await catalog.known(name, digests), await catalog.told(name, digests)
        platforms = await self._platforms(name, [one.manifest for one in known.values()])
        rule = (await self._registry.metadata.rules()).freezing(name)
        return [
            Row(
                one,
                known.get(one.digest),
                moves.get(one.tags[0]),
                _kinds(*told[one.digest]),
                platforms.get(one.digest, ()),
                frozenset(tag for tag in one.tags if rule and rule.freezes(tag)),
            )
            for one in found
        ]

    async def _may_delete(self, request: web.Request, name: str) -> bool:
        """Whether they may delete all of it, and there is something."""
        return allowed(request, name, Action.DELETE) and bool(await self._registry.metadata.digests(name, "sha", 1))

    async def _platforms(self, name: str, manifests: Iterable[Manifest]) -> dict[str, list[str]]:
        """Of indexes, what they are for; of single images only their configuration tells, which is not read here."""
        indexes = [one for one in manifests if one.media_type in INDEXES and one.size <= _MOST_BYTES]
        inspect, found = self._registry.inspector.inspect, []
        for at in range(0, len(indexes), _READ):
            some = indexes[at : at + _READ]
            found += await asyncio.gather(*[inspect(name, one) for one in some], return_exceptions=True)
        return {
            one.digest: [platform.name for platform in inside.platforms if platform.name and not platform.about]
            for one, inside in zip(indexes, found, strict=True)
            if not isinstance(inside, BaseException)  # what is damaged is told on its own page
        }

    async def _rules(self, name: str) -> Sequence[str]:
        """What holds for the repository, in words."""
        rules = await self._registry.metadata.rules()
        said = {rule.repositories: rule for rule in (rules.freezing(name), rules.keeping(name)) if rule}
        said |= {rule.repositories: rule for rule in rules.limiting(name)}
        return [f"{glob}: {'; '.join(_words(rule))}" for glob, rule in said.items()]


def _order(text: str) -> Order | None:
    return Order(text) if text in [*Order] else None


def _size(row: Row) -> int:
    return -(row.known.manifest.total if row.known else 0)


def _pulled(row: Row) -> float:
    pulled = row.known.pulled_at if row.known else None
    return pulled.timestamp() if pulled else 0.0


_KEYS: Mapping[Order, Callable[[Row], float]] = {Order.SIZE: _size, Order.PULLED: _pulled}


def _words(rule: Rule) -> list[str]:
    return words(replace(rule, quota=0)) + ([f"at most {size(rule.quota)}"] if rule.quota else [])


def _kinds(types: Iterable[str], tags: Iterable[str]) -> list[str]:
    return short([*map(in_words, types), *map(of_tag, tags)])

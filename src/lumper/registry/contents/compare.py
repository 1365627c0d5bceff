"""Two images of one repository, compared as far down as to the files of their layers; in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from json import loads
from typing import Any, TypeVar

from lumper.errors import ArchiveError
from lumper.model.builds.verification import Difference
from lumper.model.images.image import Manifest
from lumper.registry.contents.image import Bridge, bridge_to
from lumper.registry.contents.platforms import Layer, Platform, config_of, platforms_of
from lumper.registry.contents.trees import TreeComparison, TreeDifference
from lumper.registry.inspect.image import shown
from lumper.registry.registry import Registry

_T = TypeVar("_T")

MOST_SECONDS = 1800.0  # of comparing two images
_MOST_FIELDS = 20
_MOST_LAYERS = 200
_MOST_DEPTH = 6
_ONLY_FIRST, _ONLY_SECOND = "only in the first image", "only in the second image"
_TIMES = {"created", "history.created"}
_PARTS = ("layers", "config", "manifests")  # of a manifest, which are looked at themselves


async def compare(registry: Registry, repository: str, first: Manifest, second: Manifest) -> list[Difference]:
    """What differs. Raises RegistryError, StorageError, TimeoutError."""
    async with asyncio.timeout(MOST_SECONDS):
        found = await _manifests(registry, first, second)
        theirs = {one.platform: one for one in await platforms_of(registry, repository, second)}
        for mine in await platforms_of(registry, repository, first):
            other = theirs.pop(mine.platform, None)
            if other is None:
                found.append(Difference("manifest", mine.platform, mine.digest, what=(_ONLY_FIRST,)))
            elif other.digest != mine.digest:
                found += await _platform(registry, repository, mine, other)
        for one in theirs.values():
            found.append(Difference("manifest", one.platform, "", one.digest, (_ONLY_SECOND,)))
        return found


async def _manifests(registry: Registry, first: Manifest, second: Manifest) -> list[Difference]:
    documents = [loads(await registry.manifests.content(one)) for one in (first, second)]
    what = differing(*(_without(one, _PARTS) for one in documents))
    return [Difference("manifest", "", first.digest, second.digest, what)] if what else []


async def _platform(registry: Registry, repository: str, mine: Platform, other: Platform) -> list[Difference]:
    configs = [await config_of(registry, repository, one.digest) for one in (mine, other)]
    what = differing(*(_without(one, ("rootfs",)) for one in configs))
    found = [Difference("configuration", mine.platform, what=what, times_only={*what} <= _TIMES)] if what else []
    for number, (one, another) in enumerate(zip_longest(mine.layers[:_MOST_LAYERS], other.layers[:_MOST_LAYERS])):
        part = Difference(
            f"layer {number + 1}", mine.platform, one.digest if one else "", another.digest if another else ""
        )
        if one is None or another is None:
            found.append(replace(part, what=(_ONLY_SECOND if one is None else _ONLY_FIRST,)))
        elif one.digest != another.digest:
            same = mine.diff_ids[number : number + 1] == other.diff_ids[number : number + 1] != ()
            found.append(
                replace(part, what=("packed in another way, with the same files",))
                if same
                else await _layer(registry, repository, part, one, another)
            )
    return found


def _without(document: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


async def _layer(registry: Registry, repository: str, part: Difference, one: Layer, other: Layer) -> Difference:
    comparison = TreeComparison()
    try:
        await _read(registry, repository, one, comparison.first)
        trees: TreeDifference = await _read(registry, repository, other, comparison.second)
    except ArchiveError as exc:
        return replace(part, what=(f"not compared: {exc.message.rstrip('.')}",))
    if not trees.count:
        return replace(part, what=("the same files, in another order or written in another way",))
    more = trees.count - len(trees.files)
    return replace(part, files=tuple(trees.files), more=more, times_only=trees.times_only)


async def _read(registry: Registry, repository: str, layer: Layer, into: Callable[[Bridge, str], _T]) -> _T:
    source = await bridge_to(registry, repository, layer)
    try:
        return await asyncio.to_thread(into, source, layer.media_type)
    finally:
        source.stopped = True  # the thread may outlive us


def differing(one: object, other: object) -> tuple[str, ...]:
    """The names of the fields in which two JSON documents differ, at most so many.

    >>> differing({"created": "1", "config": {"Env": ["A"], "User": "x"}}, {"created": "2", "config": {"User": "x"}})
    ('config.Env', 'created')
    """
    found = list(dict.fromkeys(_fields(one, other, "", 0)))
    more = len(found) - _MOST_FIELDS
    return (*found[:_MOST_FIELDS], *([f"{more} more fields"] if more > 0 else []))


def _fields(one: object, other: object, name: str, depth: int) -> Iterator[str]:
    """Entries of a list have its name: which of them differ says little to people."""
    if one == other:
        return
    if isinstance(one, Mapping) and isinstance(other, Mapping) and depth < _MOST_DEPTH:
        for key in sorted({*one, *other}):
            yield from _fields(one.get(key), other.get(key), f"{name}.{shown(key)[:80]}".lstrip("."), depth + 1)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and depth < _MOST_DEPTH:
        for mine, theirs in zip(one, other, strict=True):
            yield from _fields(mine, theirs, name, depth + 1)
    else:
        yield name

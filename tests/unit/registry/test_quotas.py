"""Quotas: what is let in, what is refused, and when it is counted again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any, cast

import pytest

from lumper.errors import RuleForbids
from lumper.model.images.activity import Actor
from lumper.model.images.rules import Rule
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.port import Metadata
from lumper.registry.quota import Quotas
from parts.suite.clock import Clock

ANN = Actor("ann", "admin")


class Slow:
    """Metadata that need a while to count."""

    def __init__(self, metadata: MemoryMetadata) -> None:
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metadata, name)

    async def usage(self, repositories: str, without: Collection[str]) -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        found = await self._metadata.usage(repositories, without)
        for _ in range(20):
            await asyncio.sleep(0)
        return found


async def push(quotas: Quotas, metadata: MemoryMetadata, repository: str, digest: str, size: int) -> None:
    async with quotas.admit(repository, digest, size):
        await asyncio.sleep(0)
        await metadata.link_blob(repository, digest, size)
        await asyncio.sleep(0)


@pytest.fixture
async def metadata() -> MemoryMetadata:
    made = MemoryMetadata()
    await made.set_rule(Rule("team/*", quota=100), ANN)
    await made.link_blob("team/a", "one", 40)
    await made.link_blob("team/b", "one", 40)
    return made


async def test_a_blob_of_several_repositories_counts_once_and_is_let_in_again(metadata: MemoryMetadata) -> None:
    quotas = Quotas(metadata)
    await push(quotas, metadata, "team/a", "two", 60)
    await push(quotas, metadata, "team/c", "one", 40)
    await push(quotas, metadata, "other", "three", 1000)

    with pytest.raises(RuleForbids, match=r"team/\* is exceeded: 100 B, of which 100 B are taken.*needs 1 B more"):
        await push(quotas, metadata, "team/c", "three", 1)
    with pytest.raises(RuleForbids):
        await quotas.check_room("team/c")
    with pytest.raises(RuleForbids):
        await quotas.check_room("team/c", digest="three")
    await quotas.check_room("team/c", digest="one")
    await quotas.check_room("other")


async def test_what_was_let_in_counts_before_it_is_there(metadata: MemoryMetadata) -> None:
    quotas = Quotas(metadata, Clock())
    async with quotas.admit("team/a", "two", 35):
        with pytest.raises(RuleForbids):
            await push(quotas, metadata, "team/b", "three", 35)
        async with quotas.admit("team/b", "two", 35):  # the same counts once
            pass
    with pytest.raises(RuleForbids):
        await push(quotas, metadata, "team/b", "three", 35)


async def test_what_did_not_come_in_after_all_takes_no_room(metadata: MemoryMetadata) -> None:
    quotas = Quotas(metadata, Clock())
    with pytest.raises(OSError):
        async with quotas.admit("team/a", "two", 60):
            raise OSError

    await push(quotas, metadata, "team/b", "three", 60)


async def test_pushes_at_the_same_time_do_not_get_past_a_quota_together(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(cast("Metadata", Slow(metadata)), clock)

    async def one(number: int) -> bool:
        clock.now += 7  # so that it is counted again and again in between
        with suppress(RuleForbids):
            await push(quotas, metadata, f"team/{number}", f"blob {number}", 20)
            return True
        return False

    done = await asyncio.gather(*(one(number) for number in range(40)))

    assert (sum(done), await metadata.usage("team/*")) == (3, 100)


async def test_what_came_in_while_it_was_counted_refuses_nothing_that_has_room(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(cast("Metadata", Slow(metadata)), clock)
    async with quotas.admit("team/a", "two", 30):
        await metadata.link_blob("team/a", "two", 30)
        clock.now += 61
        await quotas.check_room("team/a")
    await push(quotas, metadata, "team/a", "three", 30)


async def test_before_a_refusal_it_is_counted_again(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(metadata, clock)
    with pytest.raises(RuleForbids):
        await push(quotas, metadata, "team/a", "two", 90)
    for repository in ("team/a", "team/b"):
        await metadata.unlink_blob(repository, "one")

    clock.now += 2
    await push(quotas, metadata, "team/a", "two", 90)


async def test_what_others_let_in_is_heard_of_within_a_minute(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(metadata, clock)
    await quotas.check_room("team/a")
    await metadata.link_blob("team/a", "of another process", 60)

    clock.now += 61
    with pytest.raises(RuleForbids):
        await quotas.check_room("team/a")


async def test_every_quota_that_fits_holds(metadata: MemoryMetadata) -> None:
    await metadata.set_rule(Rule("**", quota=50), ANN)
    quotas = Quotas(metadata)

    with pytest.raises(RuleForbids, match=r"the rule for \*\*"):
        await push(quotas, metadata, "team/a", "two", 20)
    await metadata.set_rule(Rule("**", quota=90), ANN)
    await push(quotas, metadata, "team/a", "two", 20)


async def taken(quotas: Quotas) -> int:
    return (await quotas.standing("team/a"))[0][1]


async def test_two_pushes_of_one_digest_count_once_also_when_one_has_ended(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(metadata, clock)

    async with quotas.admit("team/a", "two", 35):
        async with quotas.admit("team/b", "two", 35):
            await metadata.link_blob("team/b", "two", 35)
            assert await taken(quotas) == 75
        assert await taken(quotas) == 75
        clock.now += 61
        assert await taken(quotas) == 75

    assert await taken(quotas) == 75


async def test_what_comes_in_while_it_is_counted_is_not_forgotten(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(cast("Metadata", Slow(metadata)), clock)
    await quotas.check_room("team/a")
    clock.now += 30

    refused = asyncio.create_task(push(quotas, metadata, "team/a", "big", 90))  # which counts again
    for _ in range(25):
        await asyncio.sleep(0)
    await push(quotas, metadata, "team/b", "two", 30)

    with pytest.raises(RuleForbids):
        await refused
    assert await taken(quotas) == 70

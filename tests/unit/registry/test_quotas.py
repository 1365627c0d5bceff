"""Quotas: what is let in, what is refused, and when it is counted again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lumper.errors import RuleForbids
from lumper.model.activity import Actor
from lumper.model.rules import Rule
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.quota import Quotas

ANN = Actor("ann", "admin")


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def metadata() -> MemoryMetadata:
    made = MemoryMetadata()
    await made.set_rule(Rule("team/*", quota=100), ANN)
    await made.link_blob("team/a", "one", 40)
    await made.link_blob("team/b", "one", 40)
    return made


async def test_a_blob_of_several_repositories_counts_once_and_is_let_in_again(metadata: MemoryMetadata) -> None:
    quotas = Quotas(metadata)
    await quotas.admit("team/a", "two", 60)
    await quotas.admit("team/c", "one", 40)
    await quotas.admit("other", "three", 1000)

    with pytest.raises(RuleForbids, match=r"team/\* is exceeded: 100 bytes, of which 100 are taken.*needs 1 more"):
        await quotas.admit("team/c", "three", 1)
    with pytest.raises(RuleForbids):
        await quotas.check_room("team/c")
    await quotas.check_room("other")


async def test_what_was_let_in_counts_before_it_is_there(metadata: MemoryMetadata) -> None:
    quotas = Quotas(metadata, Clock())
    await quotas.admit("team/a", "two", 35)

    with pytest.raises(RuleForbids):
        await quotas.admit("team/b", "three", 35)


async def test_before_a_refusal_it_is_counted_again(metadata: MemoryMetadata) -> None:
    clock = Clock()
    quotas = Quotas(metadata, clock)
    with pytest.raises(RuleForbids):
        await quotas.admit("team/a", "two", 90)
    for repository in ("team/a", "team/b"):
        await metadata.unlink_blob(repository, "one")

    clock.now += 2
    await quotas.admit("team/a", "two", 90)


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
        await quotas.admit("team/a", "two", 20)
    await metadata.set_rule(Rule("**", quota=90), ANN)
    await quotas.admit("team/a", "two", 20)

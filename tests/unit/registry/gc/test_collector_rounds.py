"""One round of the collector as a whole: what it does besides, whom it tells, and when it does not begin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from json import dumps

import pytest

from lumper.errors import Conflict
from lumper.model.images.activity import SERVER, Activity, Actor, AuditAction
from lumper.model.images.garbage import Garbage, GarbageKind
from lumper.model.images.image import Tag
from lumper.model.images.rules import Keep, Rule
from lumper.registry.gc import collector as gc
from lumper.registry.gc import orphans
from lumper.registry.gc.collector import Policy, Report
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from parts.registries.live_registry import digest_of, image_manifest

NOW = Policy(timedelta(0), untagged=True)
ANN = Actor("ann", "admin")


async def push(registry: Registry, tag: str) -> str:
    """Push an image with a layer of its own; its digest."""
    layer = tag.encode()
    session = await registry.blobs.begin("one", "me")
    digest = (await registry.blobs.finish(session, digest_of(layer), data=layer)).digest
    body = image_manifest((digest, len(layer)))
    kept = await registry.manifests.put("one", tag, str(body["mediaType"]), dumps(body).encode(), actor=SERVER)
    return kept.digest


async def tags(metadata: MemoryMetadata) -> list[str]:
    return [tag.name for tag in await metadata.tags("one") or []]


async def test_tags_that_no_rule_keeps_go_with_a_round_and_not_with_a_dry_one() -> None:
    metadata = MemoryMetadata()
    registry = Registry(MemoryStorage(), metadata, NOW)
    await metadata.set_rule(Rule("**", keep=Keep(last=1)), ANN)
    for tag in ("a", "b"):
        await push(registry, tag)

    await registry.collector.run(dry_run=True)
    assert await tags(metadata) == ["a", "b"]
    await registry.collector.run()
    assert await tags(metadata) == ["b"]


async def test_a_quick_round_judges_tags_once_it_has_rested_and_a_whole_one_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = MemoryMetadata()
    registry = Registry(MemoryStorage(), metadata, NOW)
    await metadata.set_rule(Rule("**", keep=Keep(last=1)), ANN)
    monkeypatch.setattr(gc, "_REST", 1e15)
    for tag, quick, left in (("a", True, ["a"]), ("b", True, ["a", "b"]), ("c", False, ["c"]), ("d", True, ["d"])):
        if tag == "c":
            monkeypatch.setattr(gc, "_REST", 0)
        await push(registry, tag)
        await registry.collector.run(quick=quick)
        assert await tags(metadata) == left


async def test_activities_that_are_too_old_are_forgotten_if_there_is_a_limit() -> None:
    old = Activity(datetime.now(UTC) - timedelta(days=9), AuditAction.PUSH, ANN, "one")
    for days, left in ((0, 1), (10, 1), (8, 0)):
        metadata = MemoryMetadata()
        metadata._done([old])
        await Registry(MemoryStorage(), metadata, Policy(activity=timedelta(days=days))).collector.run()
        assert len(await metadata.activities()) == left


async def test_who_watches_is_told_of_each_round_that_did_something() -> None:
    seen: list[tuple[Report, float]] = []
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata(), NOW, lambda *round_: seen.append(round_))
    await storage.put(digest_of(b"x"), b"x")

    await registry.collector.run(dry_run=True)
    await registry.collector.run()

    ((report, seconds),) = seen
    assert report.freed == 1
    assert 0 <= seconds < 60


async def test_a_round_does_not_begin_while_another_process_collects() -> None:
    @asynccontextmanager
    async def nobody(_name: str) -> AsyncIterator[bool]:
        yield False

    registry = Registry(MemoryStorage(), MemoryMetadata(), NOW, shared=nobody)

    with pytest.raises(Conflict, match="Another server is collecting"):
        await registry.collector.run()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_STEP", 50)


@pytest.mark.usefixtures("small_pages")
async def test_what_many_crashes_left_is_found_a_page_of_the_storage_after_the_other() -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata(), NOW)
    for number in range(51):
        await storage.put(f"sha256:{number:064x}", b"")

    found = [(await registry.collector.run()).counts[GarbageKind.BYTES] for _ in range(3)]

    assert found == [50, 1, 0]


@pytest.mark.usefixtures("small_pages")
async def test_the_first_page_comes_again_after_the_last_one() -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata(), NOW)
    for number in range(1, 52):
        await storage.put(f"sha256:{number:064x}", b"")
    await registry.collector.run()
    await storage.put(f"sha256:{0:064x}", b"")

    found = [(await registry.collector.run()).counts[GarbageKind.BYTES] for _ in range(2)]

    assert found == [1, 1]


async def test_a_database_that_knows_nothing_at_all_costs_no_image() -> None:
    storage = MemoryStorage()
    await push(Registry(storage, MemoryMetadata(), NOW), "a")
    emptied = Registry(storage, MemoryMetadata(), NOW)

    for _ in range(3):
        assert not any((await emptied.collector.run()).counts.values())

    assert len(storage._blobs) == 2
    assert await emptied.metadata.repositories() == []  # that is for a person to say: it is another folder, perhaps


async def test_what_only_the_storage_knows_is_brought_back_before_anything_goes() -> None:
    storage, metadata = MemoryStorage(), MemoryMetadata()
    await push(Registry(storage, MemoryMetadata(), NOW), "a")
    await metadata.link_blob("two", digest_of(b"x"), 1)

    for _ in range(3):
        await Registry(storage, metadata, NOW).collector.run()

    assert await tags(metadata) == ["a"]
    assert len(storage._blobs) == 2


async def test_a_cached_tag_goes_when_nobody_has_asked_for_it_unless_it_is_used_or_moved_meanwhile() -> None:
    class Moving(MemoryMetadata):
        """A tag is asked for right after it was seen to be old."""

        asked_for = ""

        async def tags(self, repository: str, *, last: str = "", limit: int = 100) -> list[Tag] | None:
            found = await super().tags(repository, last=last, limit=limit)
            if self.asked_for:
                await self.touch(repository, digest_of(b"unused"), [self.asked_for])
            return found

    metadata = Moving()
    registry = Registry(MemoryStorage(), metadata, Policy(timedelta(0), unused_after=lambda _: timedelta(0)))
    for tag in ("a", "b", "c"):
        used = await push(registry, tag)
    metadata.used[used] = "it runs"
    told_of = (await registry.collector.run(dry_run=True)).garbage
    assert [one.name for one in told_of if one.kind is GarbageKind.CACHED] == ["a", "b"]
    assert await tags(metadata) == ["a", "b", "c"]
    metadata.asked_for = "b"

    report = await registry.collector.run()

    assert [one.name for one in report.garbage if one.kind is GarbageKind.CACHED] == ["a"]
    assert await tags(metadata) == ["b", "c"]


def test_a_report_shows_the_first_thousand_things_and_counts_all() -> None:
    some = [Garbage(GarbageKind.LINK, "one", str(number)) for number in range(700)]
    report = Report(False).plus(some).plus([*some[:699], Garbage(GarbageKind.BYTES, "", "last", 5)])

    assert (len(report.garbage), report.freed) == (1000, 5)
    assert report.counts[GarbageKind.LINK] == 1399
    assert [one.name for one in report.garbage[699:702]] == ["699", "0", "1"]

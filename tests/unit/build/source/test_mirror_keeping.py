"""Which mirrors are kept, and that one in use stays whatever its age."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.mirror_keeping import Kept, MirrorLimits, kept_mirrors, unwanted_mirrors, use_file
from parts.git.git_repository import Repository

DAY = 86_400
NOW = 1_000 * DAY


def kept(**sizes_and_days: tuple[int, float]) -> list[Kept]:
    """Mirrors with their size, and the days since they were used."""
    return [Kept(name, (), size, NOW - days * DAY) for name, (size, days) in sizes_and_days.items()]


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (MirrorLimits(), []),
        (MirrorLimits(days=30), ["old", "older"]),
        (MirrorLimits(total=25), ["older", "old"]),
        (MirrorLimits(total=30), ["older"]),
        (MirrorLimits(total=1), ["older", "old", "young"]),
        (MirrorLimits(days=35, total=20), ["older", "old"]),
        (MirrorLimits(days=35, total=100), ["older"]),
    ],
)
def test_the_oldest_go_until_all_limits_are_kept(limits: MirrorLimits, gone: list[str]) -> None:
    mirrors = kept(young=(20, 0), old=(10, 31), older=(10, 40))
    assert sorted(each.project for each in unwanted_mirrors(mirrors, limits, NOW)) == sorted(gone)


@pytest.fixture
def requests(tmp_path: Path) -> Mapping[str, CheckoutRequest]:
    """Two projects."""
    found = {}
    for name in ("p1", "p2"):
        repository = Repository(tmp_path / f"{name}.git")
        commit = repository.commit({"Dockerfile": f"FROM {name}\n", "big": os.urandom(100_000)})
        repository.tag("v1", commit)
        found[name] = CheckoutRequest(name, str(repository.path), True, "refs/tags/v1", commit)
    return found


async def check_out(mirrors: Mirrors, request: CheckoutRequest) -> None:
    """Check out and read everything."""
    async with mirrors.checkout(request) as checkout:
        assert [chunk async for chunk in checkout.archive()]


def used(folder: Path, project: str, days: float) -> None:
    """Let a mirror look as if it had not been used for so many days."""
    when = time.time() - days * DAY
    os.utime(folder / f"{project}.git", (when, when))
    os.utime(use_file(folder, project), (when, when))


async def test_an_old_mirror_goes_and_is_made_anew_by_the_next_build(
    tmp_path: Path, requests: Mapping[str, CheckoutRequest]
) -> None:
    folder = tmp_path / "mirrors"
    mirrors = Mirrors(folder)
    for request in requests.values():
        await check_out(mirrors, request)
    (folder / "p1.0123abcd.git").mkdir()  # the mirror of a submodule
    used(folder, "p1", 91)
    assert await mirrors.prune(MirrorLimits(days=90)) > 100_000
    assert sorted(path.name for path in folder.glob("*.git")) == ["p2.git"]
    await check_out(mirrors, requests["p1"])
    assert await mirrors.prune(MirrorLimits(days=90)) == 0


async def test_what_was_used_longest_ago_makes_room(tmp_path: Path, requests: Mapping[str, CheckoutRequest]) -> None:
    folder = tmp_path / "mirrors"
    mirrors = Mirrors(folder)
    for request in requests.values():
        await check_out(mirrors, request)
    used(folder, "p2", 1)
    await mirrors.prune(MirrorLimits(total=150_000))
    assert [each.project for each in kept_mirrors(folder)] == ["p1"]


async def test_a_mirror_in_use_stays_and_can_be_read_to_its_end(
    tmp_path: Path, requests: Mapping[str, CheckoutRequest]
) -> None:
    folder = tmp_path / "mirrors"
    mirrors = Mirrors(folder)
    async with mirrors.checkout(requests["p1"]) as checkout:
        stream = checkout.archive()
        first = await anext(stream)
        assert await Mirrors(folder).prune(MirrorLimits(total=1)) == 0
        rest = [chunk async for chunk in stream]
        assert len(first) + sum(map(len, rest)) > 100_000
        assert await checkout.read("Dockerfile", 100) == b"FROM p1\n"
    assert await mirrors.prune(MirrorLimits(total=1)) > 100_000


async def test_checkouts_and_pruning_at_the_same_time_do_not_hurt_each_other(
    tmp_path: Path, requests: Mapping[str, CheckoutRequest]
) -> None:
    mirrors = Mirrors(tmp_path / "mirrors")

    async def prune() -> None:
        for _ in range(20):
            await mirrors.prune(MirrorLimits(total=1))

    async def build(request: CheckoutRequest) -> None:
        for _ in range(10):
            await check_out(mirrors, request)

    await asyncio.gather(prune(), *(build(request) for request in (*requests.values(), *requests.values())))
    await mirrors.prune(MirrorLimits(total=1))
    assert kept_mirrors(tmp_path / "mirrors") == []

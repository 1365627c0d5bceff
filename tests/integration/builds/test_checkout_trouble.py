"""What becomes of a checkout when something is killed, damaged, endless, or too large."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Limits, Mirrors
from lumper.errors import CheckoutTooLarge, GitUnreachable, MirrorDamaged, StorageError
from parts.git import checkout_process
from parts.git.git_repository import Repository
from parts.git.git_server import GitServer, git_server


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """A repository with a megabyte that does not compress, tagged v1."""
    repository = Repository(tmp_path / "served/owner/app.git")
    repository.tag("v1", repository.commit({"Dockerfile": "FROM scratch\n", "big": os.urandom(1 << 20)}))
    return repository


@pytest.fixture
def server(tmp_path: Path, origin: Repository) -> Iterator[GitServer]:
    """A server of it."""
    with git_server(tmp_path / "served") as server:
        yield server


def mirrors_in(tmp_path: Path, **limits: float) -> Mirrors:
    """Mirrors in the same folder every time."""
    return Mirrors(tmp_path / "mirrors", limits=Limits(**limits))  # type: ignore[arg-type]


async def check_out(mirrors: Mirrors, server: GitServer, commit: str = "") -> int:
    """Check v1 out and read all of it; how many bytes the archive has."""
    request = CheckoutRequest("p1", server.url("owner/app.git"), False, "refs/tags/v1", commit)
    async with mirrors.checkout(request) as checkout:
        return sum([len(chunk) async for chunk in checkout.archive()])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that nothing announces."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (files and processes announce nothing)
            await asyncio.sleep(0.01)


def git_processes(folder: Path) -> list[int]:
    """All processes whose command line names a mirror in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize("how", ["hang", "drip"])
async def test_after_kill_9_in_the_middle_of_a_fetch_the_next_checkout_just_works(
    how: str, origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    setattr(server, how, True)
    commit = origin.git("rev-parse", "v1")
    arguments = [sys.executable, checkout_process.__file__, str(tmp_path / "mirrors"), server.url("owner/app.git")]
    victim = await asyncio.create_subprocess_exec(*arguments, commit)
    pack = tmp_path / "mirrors/p1.git/objects/pack"
    if how == "hang":
        await asyncio.to_thread(server.arrived.wait, 60)
    else:
        await until(lambda: any(pack.glob("tmp_*")))
    victim.kill()
    await victim.wait()
    orphans = git_processes(tmp_path / "mirrors/p1.git")
    assert orphans
    setattr(server, how, False)
    (tmp_path / "mirrors/p1.git/shallow.lock").touch()
    async with asyncio.timeout(60):
        assert await check_out(mirrors_in(tmp_path), server, commit) > 1 << 20
    assert not list(pack.glob("tmp_*"))
    assert not set(orphans) & set(git_processes(tmp_path / "mirrors/p1.git"))


async def test_cancelling_ends_git_and_everything_that_it_started(server: GitServer, tmp_path: Path) -> None:
    server.hang = True
    task = asyncio.create_task(check_out(mirrors_in(tmp_path), server))
    await asyncio.to_thread(server.arrived.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert git_processes(tmp_path / "mirrors") == []


async def test_cancelling_in_the_middle_of_an_archive_ends_git(server: GitServer, tmp_path: Path) -> None:
    request = CheckoutRequest("p1", server.url("owner/app.git"), False, "refs/tags/v1")
    async with mirrors_in(tmp_path).checkout(request) as checkout:
        async for _ in checkout.archive():
            break
    assert git_processes(tmp_path / "mirrors") == []


async def test_a_server_that_never_answers_is_given_up(server: GitServer, tmp_path: Path) -> None:
    server.hang = True
    with pytest.raises(GitUnreachable, match="sent nothing"):
        await check_out(mirrors_in(tmp_path, timeout=0.3), server)
    assert git_processes(tmp_path / "mirrors") == []


async def test_a_fetch_that_does_not_come_to_its_end_is_given_up(server: GitServer, tmp_path: Path) -> None:
    server.drip = True
    for seconds in (2.0, 10.0, 40.0):  # so long that half of it comes before, which on a slow machine is longer
        with pytest.raises((CheckoutTooLarge, GitUnreachable)) as caught:
            await check_out(mirrors_in(tmp_path, timeout=seconds), server)
        if "sent nothing" not in str(caught.value):
            break
    assert isinstance(caught.value, CheckoutTooLarge)
    assert "could not be fetched within" in str(caught.value)


async def test_a_repository_larger_than_allowed_is_refused_and_leaves_nothing(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    server.drip = True  # half of the pack has come, and it is too much already
    with pytest.raises(CheckoutTooLarge, match="MiB"):
        await check_out(mirrors_in(tmp_path, max_bytes=1 << 18), server)
    assert not (tmp_path / "mirrors/p1.git").exists()


async def test_a_mirror_that_grew_too_large_over_time_is_made_anew(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    for number in range(3):
        origin.tag("v1", origin.commit({"big": os.urandom(1 << 20), "n": str(number), "Dockerfile": ""}))
        await check_out(mirrors_in(tmp_path), server)
    origin.tag("v1", origin.commit({"small": "1", "Dockerfile": ""}))
    await check_out(mirrors_in(tmp_path, max_bytes=2 << 20), server)
    packs = (tmp_path / "mirrors/p1.git/objects/pack").glob("*.pack")
    assert sum(path.stat().st_size for path in packs) < 1 << 20


def damage_pack(mirror: Path) -> None:
    """Overwrite the middle of the pack."""
    (pack,) = (mirror / "objects/pack").glob("*.pack")
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 2)
        file.write(b"\0" * 1000)


def damage_shallow(mirror: Path) -> None:
    """Garbage where git notes which commits lack their parents."""
    (mirror / "shallow").write_bytes(b"\0garbage\n")


@pytest.mark.parametrize("damage", [damage_pack, damage_shallow])
async def test_what_breaks_only_while_it_is_read_fails_that_checkout_and_is_fetched_anew_by_the_next(
    damage: Callable[[Path], None], origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    commit = origin.git("rev-parse", "v1")
    size = await check_out(mirrors_in(tmp_path), server, commit)
    damage(tmp_path / "mirrors/p1.git")
    with pytest.raises(MirrorDamaged) as caught:
        await check_out(mirrors_in(tmp_path), server, commit)
    assert caught.value.temporary
    assert await check_out(mirrors_in(tmp_path), server, commit) == size


@pytest.mark.parametrize("broken", ["HEAD", "config", "objects/pack", "packs", "ref", "empty ref", "index"])
async def test_a_broken_mirror_is_fetched_anew(
    broken: str, origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    commit = origin.git("rev-parse", "v1")
    size = await check_out(mirrors_in(tmp_path), server, commit)
    mirror = tmp_path / "mirrors/p1.git"
    match broken:
        case "HEAD" | "config":
            (mirror / broken).write_bytes(b"\0garbage\n")
        case "objects/pack":
            shutil.rmtree(mirror / broken)
        case "packs":
            for path in (mirror / "objects/pack").iterdir():
                path.unlink()
        case "ref":
            (mirror / f"refs/lumper/{commit}").write_text("1" * 40 + "\n")
        case "empty ref":
            (mirror / f"refs/lumper/{commit}").write_text("")
        case "index":
            for path in (mirror / "objects/pack").glob("*.idx"):
                path.chmod(0o600)
                path.write_bytes(b"\0" * 100)
    assert await check_out(mirrors_in(tmp_path), server, commit) == size
    origin.tag("v1", commit := origin.commit({"Dockerfile": "", "n": "2"}))
    await check_out(mirrors_in(tmp_path), server, commit)


async def test_a_folder_that_cannot_be_written_is_an_error_of_the_storage(server: GitServer, tmp_path: Path) -> None:
    (tmp_path / "mirrors").write_text("a file")
    with pytest.raises(StorageError, match="folder of the git mirrors"):
        await check_out(mirrors_in(tmp_path), server)


async def test_a_git_that_somebody_else_runs_holds_the_lock_only_for_so_long(server: GitServer, tmp_path: Path) -> None:
    server.hang = True
    first = asyncio.create_task(check_out(mirrors_in(tmp_path), server))
    await asyncio.to_thread(server.arrived.wait, 60)
    with pytest.raises(GitUnreachable, match="Another Lumper process"):
        await check_out(mirrors_in(tmp_path, timeout=0.2), server)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

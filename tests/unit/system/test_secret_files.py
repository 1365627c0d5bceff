"""A secret that is made once: whoever comes first makes it, and nobody reads half of it."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lumper.accounts.tokens import make_token
from lumper.errors import StorageFull
from lumper.queue.brokers.sqlite import SqliteBroker
from lumper.queue.port import Message
from lumper.registry.attest.signer import make_signing_key
from lumper.store.database import Database
from lumper.system.secret_files import made_once, make_key, replace
from parts.disks.small_disk import filled, small_disk


def test_all_who_come_at_the_same_time_get_the_same_secret(tmp_path: Path) -> None:
    file, together = tmp_path / "keys" / "a", threading.Barrier(8)

    def make(number: int) -> bytes:
        def late() -> bytes:
            together.wait(60)
            return b"%d" % number

        return made_once(file, late)

    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(make, range(8)))

    assert got == {file.read_bytes()}
    assert [path.name for path in file.parent.iterdir()] == ["a"]


def test_only_the_owner_may_read_it_and_see_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "a"
    made_once(file, lambda: b"secret")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    assert made_once(tmp_path / "a", lambda: b"new") == b"old"


def test_its_name_is_on_the_disk_after_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    made_once(tmp_path / "a", lambda: b"old")
    replace(tmp_path / "a", b"new")

    assert [path if path == tmp_path else path.parent for path in synced] == [tmp_path] * 4
    assert [path == tmp_path for path in synced] == [False, True] * 2
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_secret_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise OSError("no entropy")

    with pytest.raises(OSError, match="no entropy"):
        made_once(tmp_path / "a", fails)

    assert list(tmp_path.iterdir()) == []


async def test_databases_are_for_their_owner_only_in_a_folder_that_all_may_look_into(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    database, broker = Database(f"sqlite:///{tmp_path / 'lumper.db'}"), SqliteBroker(tmp_path / "queue.db")
    await database.migrate()
    await broker.publish([Message("1", "topic", b"body")])
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.db*")}
    await broker.close()
    await database.close()
    assert {"lumper.db", "lumper.db-wal", "queue.db", "queue.db-wal"} <= found.keys()
    assert set(found.values()) == {0o600}


@pytest.mark.parametrize("make", [make_key, make_token, make_signing_key])
def test_on_a_full_disk_none_is_made_and_nothing_is_left_until_there_is_room(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with filled(disk), pytest.raises(StorageFull, match="No space left"):
            make(disk / "secret")
        assert list(disk.iterdir()) == []
        make(disk / "secret")

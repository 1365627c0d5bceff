"""A secret that is made once: whoever comes first makes it, and nobody reads half of it."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lumper.secret_files import made_once


def test_all_who_come_at_the_same_time_get_the_same_secret(tmp_path: Path) -> None:
    file, together = tmp_path / "keys" / "a", threading.Barrier(8)

    def make(number: int) -> bytes:
        def late() -> bytes:
            together.wait(10)
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


def test_a_secret_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise OSError("no entropy")

    with pytest.raises(OSError, match="no entropy"):
        made_once(tmp_path / "a", fails)

    assert list(tmp_path.iterdir()) == []

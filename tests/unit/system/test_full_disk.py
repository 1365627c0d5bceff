"""Which errors say that a disk is full, and which only sound like it."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lumper.errors import StorageError, StorageFull
from lumper.system.full_disk import no_space_left, storage_error


@pytest.mark.parametrize(
    ("number", "full"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),  # of this user's share
        (errno.EFBIG, False),  # no file may be so large, on an empty disk either
        (errno.ENOMEM, False),
        (errno.EMFILE, False),
        (errno.EROFS, False),
        (errno.EIO, False),
    ],
)
def test_the_system_says_so_with_two_numbers(number: int, full: bool) -> None:
    exc = OSError(number, os.strerror(number))
    assert no_space_left(exc) is full
    told = storage_error(exc, "The log cannot be written.", hint="Look there.")
    assert type(told) is (StorageFull if full else StorageError)
    assert (told.message, told.hint) == ("The log cannot be written.", "Look there.")


def test_an_error_without_a_number_does_not_say_so() -> None:
    assert not no_space_left(OSError("no space left on device"))
    assert not no_space_left(ValueError())
    assert not no_space_left(None)


def test_who_gives_no_hint_has_the_one_of_a_full_disk() -> None:
    assert storage_error(OSError(errno.ENOSPC, ""), "x").hint == StorageFull.default_hint
    assert storage_error(OSError(errno.EIO, ""), "x").hint == ""


def test_sqlite_says_so_of_a_database_that_has_all_its_pages(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.Error) as full:
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
        with pytest.raises(sqlite3.Error) as other:
            connection.execute("INSERT INTO disk_is_full VALUES (1)")
    assert no_space_left(full.value)
    assert not no_space_left(other.value)

from __future__ import annotations

import io
import tarfile

import pytest

from lumper.build.context.dockerignore import parse_dockerignore
from lumper.build.source.tarstream import TarSieve, file_entry
from lumper.errors import SourceError


def make_tar(files: dict[str, bytes], **more: object) -> bytes:
    """A pax tar of these files, with a global header as git writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "1" * 40}) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = dict(more)  # type: ignore[arg-type]
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sieved(data: bytes, step: int, patterns: bytes, folder: str = "") -> bytes:
    """The tar fed in pieces of `step` bytes."""
    sieve = TarSieve(parse_dockerignore(patterns), folder)
    kept = b"".join(sieve.feed(data[at : at + step]) for at in range(0, len(data), step))
    sieve.finish()
    return kept


FILES = {"a": b"", "drop": b"1" * 513, "b" * 150: b"2" * 512, "drop" + "c" * 300: b"3" * 3000, "z": b"4"}


@pytest.mark.parametrize("step", [1, 7, 511, 512, 513, 1 << 20])
def test_pieces_of_any_size_give_the_same_tar(step: int) -> None:
    kept = sieved(make_tar(FILES), step, b"drop*")
    with tarfile.open(fileobj=io.BytesIO(kept)) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == {  # type: ignore[union-attr]
            name: content for name, content in FILES.items() if not name.startswith("drop")
        }


def test_a_tar_of_which_nothing_is_left_out_passes_byte_for_byte() -> None:
    data = make_tar(FILES)
    assert sieved(data, 1000, b"nothing") == data


def test_patterns_know_nothing_of_the_folder_that_everything_lies_in() -> None:
    files = {"in/": b"", "in/a": b"1", "in/drop": b"2", "in/in/a": b"3"}
    kept = sieved(make_tar({name: data for name, data in files.items() if data}), 100, b"drop\nin", "in")
    with tarfile.open(fileobj=io.BytesIO(kept)) as tar:
        assert tar.getnames() == ["in/a"]


def test_the_folder_that_everything_lies_in_stays_when_nothing_is_left_in_it() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("in/")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        tar.addfile(tarfile.TarInfo("in/a"))
    with tarfile.open(fileobj=io.BytesIO(sieved(buffer.getvalue(), 100, b"*", "in"))) as tar:
        assert tar.getnames() == ["in"]


def test_a_file_is_made_an_entry_whatever_its_name() -> None:
    name = "d/" + "long" * 100 + "\udcff"
    made = file_entry(name, b"x" * 513, 1_700_000_000) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        [member] = tar.getmembers()
        assert (member.name, member.mtime, member.mode) == (name, 1_700_000_000, 0o644)
        assert tar.extractfile(member).read() == b"x" * 513  # type: ignore[union-attr]


def test_a_tar_that_breaks_off_is_an_error() -> None:
    with pytest.raises(SourceError, match="broke off"):
        sieved(make_tar(FILES)[:2048], 512, b"drop")


def test_a_path_without_end_is_refused_and_not_kept_in_memory() -> None:
    with pytest.raises(SourceError, match="too long"):
        sieved(make_tar({"a": b""}, path="x" * (2 << 20)), 4096, b"drop")

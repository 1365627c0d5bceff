from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lumper.build.source.objects import Kind, parse_commit, parse_tree, printable_path
from lumper.errors import MirrorDamaged
from lumper.model.source import Person

ID = "a" * 40
TREE = b"tree " + b"b" * 40 + b"\n"


def test_a_commit_is_read() -> None:
    head = TREE + b"parent " + b"c" * 40 + b"\nauthor A B <a@b.c> 1 +0000\ncommitter C <c@d> 1700000000 +0200\n"
    commit = parse_commit(ID, head + b"gpgsig x\n author y\n\nFirst\nline\n\nauthor Not <me>\n")
    assert (commit.id, commit.tree, commit.subject) == (ID, "b" * 40, "First line")
    assert commit.author == Person("A B", "a@b.c")
    assert commit.committed_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("author", "person"),
    [
        (b"<>", Person()),
        (b"A <a@b", Person()),
        (b"A <a@b> x", Person("A", "a@b")),
        (b" <a@b> 99999999999999999 +0000", Person("", "a@b")),
        (b"A\x1b[2J\rB <a\x00@b> 1", Person("A [2J B", "a @b")),
        (b"\xe9 <a@b> 1", Person("\N{REPLACEMENT CHARACTER}", "a@b")),
    ],
)
def test_what_old_and_hostile_tools_wrote_as_a_person_is_read_without_harm(author: bytes, person: Person) -> None:
    commit = parse_commit(ID, TREE + b"author " + author + b"\ncommitter " + author + b"\n\n\x1b[31mred\x07\n")
    assert commit.author == person
    assert commit.committed_at.year in (1970, 1969)
    assert commit.subject == "[31mred"


@pytest.mark.parametrize(("encoding", "subject"), [(b"ISO-8859-1", "é"), (b"zlib", "\ufffd"), (b"punycode", "\ufffd")])
def test_only_encodings_of_text_are_believed(encoding: bytes, subject: str) -> None:
    assert parse_commit(ID, TREE + b"encoding " + encoding + b"\n\n\xe9\n").subject == subject


def test_a_commit_without_a_tree_is_damage() -> None:
    with pytest.raises(MirrorDamaged):
        parse_commit(ID, b"author A <a@b> 1 +0000\n\nx")


def test_a_tree_is_read_with_whatever_bytes_its_names_have() -> None:
    entries = (b"100644 a\n", b"100755 \xff", b"120000 l", b"160000 m", b"40000 d e", b"040000 old", b"100664 o")
    tree = parse_tree(b"".join(entry + b"\0" + bytes([number]) * 20 for number, entry in enumerate(entries)), 20)
    assert [entry.kind for entry in tree.values()] == [
        *(Kind.FILE, Kind.FILE, Kind.LINK, Kind.SUBMODULE, Kind.FOLDER, Kind.FOLDER, Kind.FILE)
    ]
    assert list(tree) == ["a\n", "\udcff", "l", "m", "d e", "old", "o"]
    assert tree["d e"].id == "04" * 20


@pytest.mark.parametrize("content", [b"100644 a", b"100644 a\0" + b"1" * 19, b"\0", b" \0" + b"1" * 20])
def test_a_tree_that_is_cut_off_is_damage(content: bytes) -> None:
    with pytest.raises(MirrorDamaged):
        parse_tree(content, 20)


def test_a_path_in_a_message_stays_on_its_line() -> None:
    assert (
        printable_path("a\nb\x1b[2J\udcff")
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
    )

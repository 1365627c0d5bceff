"""Which contexts share a name in an engine."""

from __future__ import annotations

import stat
from dataclasses import replace

from lumper.build.engines.buildkit.session.shared_keys import SharedKeys
from lumper.build.port import ContextEntry
from parts.disks.held_files import HeldFiles


def at(time: int | None, key: str) -> HeldFiles:
    return HeldFiles({}, key=key, time=time)


def test_contexts_of_different_times_share_the_name_of_their_place() -> None:
    keys = SharedKeys()
    names = {keys.of(at(time, f"k{time}"), "place").name for time in range(5)}
    assert len(names) == 1
    assert keys.of(at(0, "k0"), "elsewhere").name not in names


def test_contexts_of_the_same_time_do_not() -> None:
    keys = SharedKeys()
    shared = keys.of(at(1, "a"), "place").name
    other = keys.of(at(1, "b"), "place").name
    assert other != shared
    assert keys.of(at(1, "a"), "place").name == shared
    assert keys.of(at(1, "b"), "place").name == other
    assert keys.of(at(2, "b"), "place").name == shared


def test_another_process_gives_other_names() -> None:
    assert SharedKeys().of(at(1, "a"), "place").name != SharedKeys().of(at(1, "a"), "place").name


def test_files_of_several_times_share_a_name_with_the_same_context_alone() -> None:
    keys = SharedKeys()
    assert keys.of(at(None, "a"), "place").name == SharedKeys().of(at(None, "a"), "elsewhere").name
    assert keys.of(at(None, "a"), "place").name != keys.of(at(None, "b"), "place").name


def test_after_very_many_contexts_a_place_gets_another_name() -> None:
    keys = SharedKeys()
    assert len({keys.of(at(time, f"k{time}"), "place").name for time in range(1500)}) == 2


def entries(time: int, **contents: str) -> list[ContextEntry]:
    return [ContextEntry(path, stat.S_IFREG | 0o644, time, 1, content=content) for path, content in contents.items()]


def test_what_an_earlier_commit_had_too_keeps_its_time() -> None:
    kept = SharedKeys().of(at(1, "a"), "place")
    assert {entry.time for entry in kept.aged(entries(1, a="1", b="2"))} == {1}
    assert kept.aged(entries(2, a="1", b="2")) == entries(1, a="1", b="2")
    assert kept.aged(entries(3, a="1", b="3")) == entries(3, a="1", b="3")
    assert kept.aged(entries(4, a="1")) == entries(4, a="1")
    assert kept.aged(entries(5, a="1", b="3")) == entries(3, a="1", b="3")
    assert kept.aged(entries(6, b="1", a="2")) == entries(6, b="1", a="2")


def test_a_file_whose_content_has_no_name_has_its_own_time() -> None:
    kept = SharedKeys().of(at(1, "a"), "place")
    for time in (1, 2):
        assert kept.aged(entries(time, a="1", b="")) == entries(time, a="1", b="")


def test_modes_and_links_count_as_content_does() -> None:
    kept = SharedKeys().of(at(1, "a"), "place")
    [plain] = entries(1, a="1")
    link = ContextEntry("l", stat.S_IFLNK | 0o777, 1, 1, "a")
    for number, told in enumerate(([plain, link], [replace(plain, mode=plain.mode | 0o111), link])):
        assert [entry.time for entry in kept.aged([replace(entry, time=number) for entry in told])] == [number] * 2
    assert kept.aged([replace(plain, time=7), replace(link, link="b", time=7)])[0].time == 7


def test_when_layers_were_lost_all_have_their_own_time_again() -> None:
    keys = SharedKeys()
    kept = keys.of(at(1, "a"), "place")
    kept.aged(entries(1, a="1"))
    keys.renew()
    assert kept.aged(entries(2, a="1")) == entries(2, a="1")
    assert keys.of(at(2, "b"), "place").name == kept.name

"""Which contexts share a name in an engine."""

from __future__ import annotations

from lumper.build.engines.buildkit.shared_keys import SharedKeys
from parts.held_files import HeldFiles


def at(time: int | None, key: str) -> HeldFiles:
    return HeldFiles({}, key=key, time=time)


def test_contexts_of_different_times_share_the_name_of_their_place() -> None:
    keys = SharedKeys()
    names = {keys.of(at(time, f"k{time}"), "place") for time in range(5)}
    assert len(names) == 1
    assert keys.of(at(0, "k0"), "elsewhere") not in names


def test_contexts_of_the_same_time_do_not() -> None:
    keys = SharedKeys()
    shared = keys.of(at(1, "a"), "place")
    other = keys.of(at(1, "b"), "place")
    assert other != shared
    assert keys.of(at(1, "a"), "place") == shared
    assert keys.of(at(1, "b"), "place") == other
    assert keys.of(at(2, "b"), "place") == shared


def test_another_process_gives_other_names() -> None:
    assert SharedKeys().of(at(1, "a"), "place") != SharedKeys().of(at(1, "a"), "place")


def test_files_of_several_times_share_a_name_with_the_same_context_alone() -> None:
    keys = SharedKeys()
    assert keys.of(at(None, "a"), "place") == SharedKeys().of(at(None, "a"), "elsewhere")
    assert keys.of(at(None, "a"), "place") != keys.of(at(None, "b"), "place")


def test_after_very_many_contexts_a_place_gets_another_name() -> None:
    keys = SharedKeys()
    assert len({keys.of(at(time, f"k{time}"), "place") for time in range(1500)}) == 2

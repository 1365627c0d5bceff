"""Which files the paths of a Dockerfile mean."""

from __future__ import annotations

import pytest

from lumper.build.context.selection import select
from parts.disks.held_files import HeldFiles

FILES = HeldFiles(
    {"d/one": "1", "d/two": "2", "f": "f", "other/x": "x", "a-b": "", "d[x]/deep/er": ""},
    links={"l": "other", "m": "/l", "o": "../up", "d/back": "../f"},
)
ALL = ["a-b", "d", "d/back", "d/one", "d/two", "d[x]", "d[x]/deep", "d[x]/deep/er", "f", "l", "m", "o"]
ALL += ["other", "other/x"]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], ALL),
        (["f"], ["f"]),
        (["/d/one", "f/"], ["d", "d/one", "f"]),
        (["d/two/"], ["d", "d/two"]),
        (["./d/../f"], ["f"]),
        (["other"], ["other", "other/x"]),
        (["d/back"], ["d", "d/back", "f"]),
        (["*/x"], ALL),  # of which one link leads out of the context
        (["[l-m]/x"], ["l", "m", "other", "other/x"]),
        (["?"], ALL),
        (["o*/?"], ALL),
        (["oth*"], ["other", "other/x"]),
        (["d/[a-o]*"], ["d", "d/back", "d/one", "f"]),
        (["d\\[x]/deep"], ["d[x]", "d[x]/deep", "d[x]/deep/er"]),
        (["*.txt"], []),
        (["d/[z-a]"], ALL),
        (["."], ALL),
        (["../f"], ALL),
        (["l"], ["l", "other", "other/x"]),
        (["m/x"], ["l", "m", "other", "other/x"]),
        (["l/nothing"], ["l", "other"]),
        (["f/x"], ["f"]),
        (["nothing"], []),
    ],
)
async def test_patterns_mean_what_they_name_with_what_links_lead_to(patterns: list[str], found: list[str]) -> None:
    selected = await select(FILES, patterns)
    assert selected is not None
    assert list(selected) == found


async def test_links_in_a_circle_end_with_everything() -> None:
    files = HeldFiles({"f": "f"}, links={"a": "b", "b": "a"})
    assert list(await select(files, ["a/x"]) or ()) == ["a", "b", "f"]


async def test_folders_come_before_their_contents_and_names_in_the_order_of_their_parts() -> None:
    files = HeldFiles(dict.fromkeys(["a/z", "a-b", "a.c/d", "a/b/c", "B"], "x"))
    assert list(await select(files, []) or ()) == ["B", "a", "a/b", "a/b/c", "a/z", "a-b", "a.c", "a.c/d"]


async def test_paths_count_from_the_folder_that_the_context_is() -> None:
    files = HeldFiles({"Dockerfile": "f", "in/a/b": "b", "inner/c": "c", "in/x": "x"}, links={"in/l": "a"})
    assert list(await select(files, [], "in") or ()) == ["a", "a/b", "l", "x"]
    assert list(await select(files, ["l"], "in") or ()) == ["a", "a/b", "l"]


async def test_more_than_is_wanted_is_nothing() -> None:
    files = HeldFiles({f"d{n}/f": "" for n in range(10)})
    assert await select(files, [], most=19) is None
    assert len(await select(files, [], most=20) or ()) == 20
    assert len(await select(files, ["d1"], most=2) or ()) == 2

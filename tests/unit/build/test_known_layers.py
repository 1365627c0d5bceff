"""What a worker remembers of layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumper.build.known_layers import KnownLayer, KnownLayers

DIFF, ONE, TWO = (f"sha256:{digit * 64}" for digit in "abc")


async def test_it_outlives_the_process(tmp_path: Path) -> None:
    known = KnownLayers(tmp_path / "layers.json")
    known.note(DIFF, ONE, 12, "registry.test/app")
    await known.save()

    assert KnownLayers(tmp_path / "layers.json").get(DIFF) == KnownLayer(ONE, 12, ("registry.test/app",))
    assert (tmp_path / "layers.json").stat().st_mode & 0o077 == 0


async def test_the_newest_places_are_kept() -> None:
    known = KnownLayers()
    for name in "abcdefa":
        known.note(DIFF, ONE, 12, f"registry.test/{name}")

    assert known.get(DIFF) == KnownLayer(ONE, 12, tuple(f"registry.test/{name}" for name in "defa"))


async def test_a_layer_that_came_out_otherwise_is_nowhere_else() -> None:
    known = KnownLayers()
    known.note(DIFF, ONE, 12, "registry.test/a")
    known.note(DIFF, TWO, 13, "registry.test/b")

    assert known.get(DIFF) == KnownLayer(TWO, 13, ("registry.test/b",))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"version": 0}', '{"version": 1, "layers": {"x": 1}}', '{"version": 1}', "\xff"]
)
async def test_a_file_that_is_wrong_is_as_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "layers.json"
    file.write_bytes(text.encode("latin-1"))

    known = KnownLayers(file)
    assert known.get(DIFF) is None
    known.note(DIFF, ONE, 12, "registry.test/a")
    await known.save()

    assert KnownLayers(file).get(DIFF) is not None


async def test_a_folder_that_is_not_there_fails_no_push(tmp_path: Path) -> None:
    known = KnownLayers(tmp_path / "nowhere" / "layers.json")
    known.note(DIFF, ONE, 12, "registry.test/a")
    await known.save()

    assert known.get(DIFF) is not None

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.push.layout import Descriptor, Layout
from lumper.errors import EngineError
from parts.disks.small_disk import filled, small_disk

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def add(layout: Layout, data: bytes, media_type: str = LAYER) -> Descriptor:
    ingest = layout.begin()
    ingest.write(data)
    return Descriptor(media_type, ingest.commit(""), len(data))


def image(layout: Layout, *layers: bytes) -> Descriptor:
    blobs = [add(layout, layer).as_json() for layer in layers]
    config = add(layout, b"config of " + b"".join(layers)).as_json()
    return add(layout, json.dumps({"config": config, "layers": blobs}).encode(), MANIFEST)


def blobs(folder: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in folder.glob("blobs/sha256/*")}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_folder_that_is_not_there_has_no_images(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "none")
    layout.remove("app:1")
    assert layout.names() == []
    assert layout.find("app:1") is None
    assert list(tmp_path.iterdir()) == []


def test_names_are_found_by_a_later_process(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    made = image(layout, b"one")
    layout.put("r.test/app:2", made)
    layout.put("r.test/app:1", made)
    assert Layout(tmp_path).names() == ["r.test/app:1", "r.test/app:2"]
    assert Layout(tmp_path).find("r.test/app:1") == made
    assert json.loads((tmp_path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_workers_that_share_the_folder_lose_no_name_of_each_other(tmp_path: Path) -> None:
    made = image(Layout(tmp_path), b"one")

    def name(worker: int) -> None:
        layout = Layout(tmp_path)
        for number in range(50):
            layout.put(f"r.test/app:{worker}-{number}", made)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(name, (1, 2)))
    assert len(Layout(tmp_path).names()) == 100


def test_what_only_a_removed_image_needed_goes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.put("app:1", image(layout, b"shared", b"one"))
    layout.put("app:2", image(layout, b"shared", b"two"))

    layout.remove("app:1")
    assert {digest(b"shared"), digest(b"two")} < blobs(tmp_path)
    assert digest(b"one") not in blobs(tmp_path)

    layout.remove("app:2")
    assert blobs(tmp_path) == set()


def test_a_name_that_is_given_anew_lets_the_old_image_go(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.put("app:1", image(layout, b"old"))
    layout.put("app:1", image(layout, b"new"))
    assert digest(b"old") not in blobs(tmp_path)
    assert digest(b"new") in blobs(tmp_path)


def test_what_a_build_counts_on_stays_while_another_image_goes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.put("app:1", image(layout, b"base"))
    layout.pin(digest(b"base"))
    layout.pin(digest(b"base"))

    layout.remove("app:1")
    assert blobs(tmp_path) == {digest(b"base")}

    layout.let_go([digest(b"base")])
    layout.put("app:2", image(layout, b"base"))
    layout.let_go([digest(b"base")])
    layout.remove("app:2")
    assert blobs(tmp_path) == set()


def test_what_a_failed_build_has_left_goes_with_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.put("app:1", image(layout, b"base"))
    counted = [digest(b"base"), add(layout, b"new").digest]
    for each in counted:
        layout.pin(each)

    layout.let_go(counted)

    assert digest(b"new") not in blobs(tmp_path)
    assert digest(b"base") in blobs(tmp_path)


def test_bytes_with_another_digest_are_not_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ingest = layout.begin()
    ingest.write(b"other")
    with pytest.raises(EngineError, match="another digest"):
        ingest.commit(digest(b"wanted"))
    assert blobs(tmp_path) == set()
    assert list((tmp_path / "ingest").iterdir()) == []


@pytest.mark.parametrize("name", ["", "sha256:", "sha256:../../x", "sha512:" + "a" * 128, "../../../etc/passwd"])
def test_a_name_that_is_no_digest_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="no digest"):
        Layout(tmp_path).path(name)


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"layers": [{"digest": "sha256:1"}]}'])
def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path: Path, body: bytes) -> None:
    layout = Layout(tmp_path)
    made = add(layout, body, MANIFEST)
    with pytest.raises(EngineError):
        list(layout.blobs(made))


def test_what_a_killed_build_has_left_goes_after_a_day(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.put("app:1", image(layout, b"named"))
    add(layout, b"left")
    (tmp_path / "ingest/broken").write_bytes(b"half")
    add(layout, b"of now")
    for path in (*tmp_path.glob("ingest/*"), *tmp_path.glob("blobs/sha256/*")):
        if path.name != digest(b"of now").removeprefix("sha256:"):
            os.utime(path, (1, 1))

    Layout(tmp_path).begin().discard()

    assert {digest(b"named"), digest(b"of now")} < blobs(tmp_path)
    assert digest(b"left") not in blobs(tmp_path)
    assert list((tmp_path / "ingest").iterdir()) == []


@pytest.mark.parametrize("size", [1_000, 100_000])  # less and more than is written at once
def test_a_full_disk_is_left_with_nothing_of_a_blob_or_an_index_that_had_no_room(size: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "images", "256k") as disk:
        layout = Layout(disk)
        made = image(layout, b"one")
        layout.put("app:1", made)
        before = {path for path in disk.rglob("*") if path.is_file()}
        ingest = layout.begin()
        with filled(disk):
            with pytest.raises(OSError, match="No space left"):
                ingest.write(bytes(size))
            ingest.discard()
            filler = disk / "filler"
            filler.write_bytes(bytes(filler.stat().st_size))  # what was given back is full again
            with pytest.raises(OSError, match="No space left"):
                layout.put("app:2", made)
        assert {path for path in disk.rglob("*") if path.is_file()} == before
        assert layout.names() == ["app:1"]

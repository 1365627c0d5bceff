"""Two images that should be one: what is told of the places where they differ, down to their files."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lumper.errors import ArchiveError
from lumper.model.builds.verification import Difference, FileDifference, summary_of
from lumper.model.images.image import Manifest
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.contents import layers, trees
from lumper.registry.contents.compare import compare, differing
from lumper.registry.contents.image import bill_of
from lumper.registry.contents.platforms import platforms_of
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.store.database import Database
from parts.registries.page_images import CONFIG, INDEX, Put

PLAIN = "application/vnd.oci.image.layer.v1.tar"
GZIP = f"{PLAIN}+gzip"


def tar(*files: tuple[str, bytes], **fields: Any) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1_700_000_000
            for key, value in fields.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@dataclass
class Pair:
    """A repository for two images."""

    registry: Registry
    put: Put

    async def image(self, *layers: bytes, kind: str = PLAIN, annotations: object = None, **config: Any) -> str:
        told = [await self.put.blob(layer, kind) for layer in layers]
        diff_ids = [one["digest"] for one in told]
        if kind == GZIP:
            diff_ids = [(await self.put.blob(gzip.decompress(layer), PLAIN))["digest"] for layer in layers]
        document = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}, **config}
        body = json.dumps(document).encode()
        more = {"annotations": annotations} if annotations else {}
        return await self.put.manifest({"config": await self.put.blob(body, CONFIG), "layers": told, **more})

    async def index(self, *platforms: str, note: str = "") -> str:
        entries = [
            {"digest": one, "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 9} for one in platforms
        ]
        return await self.put.manifest({"manifests": entries, "annotations": {"note": note}}, kind=INDEX)

    async def compare(self, first: str, second: str) -> list[Difference]:
        one, other = await self.manifest(first), await self.manifest(second)
        return await compare(self.registry, self.put.repository, one, other)

    async def manifest(self, digest: str) -> Manifest:
        found = await self.registry.metadata.manifest(self.put.repository, digest)
        assert isinstance(found, Manifest)
        return found


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    database = Database(f"sqlite:///{tmp_path}/lumper.db")
    await database.migrate()
    storage = MemoryStorage()
    registry = Registry(storage, ImageHistory(database))
    yield Pair(registry, Put(registry, storage, "owner/app"))
    await registry.close()
    await database.close()


SAME = tar(("same", b"x"))


async def test_each_kind_of_difference_between_files_is_named(pair: Pair) -> None:
    first = await pair.image(SAME, tar(("a", b"1"), ("b", b"2"), ("gone", b"")), tar(("c", b"3")))
    second = await pair.image(SAME, tar(("a", b"9"), ("b", b"2"), ("new", b"")), tar(("c", b"3"), mode=0o4755, uid=7))
    two, three = await pair.compare(first, second)
    assert (two.part, two.platform, two.times_only) == ("layer 2", "linux/amd64", False)
    assert two.files == (
        FileDifference("a", ("content",)),
        FileDifference("new", ("only in the second image",)),
        FileDifference("gone", ("only in the first image",)),
    )
    assert three.files == (FileDifference("c", ("mode", "owner")),)
    assert summary_of([two, three]) == "It differs in the layers 2, 3."


async def test_times_do_not_hide_what_else_differs(pair: Pair) -> None:
    first = await pair.image(tar(("a", b"1"), ("b", b"2")))
    second = await pair.image(tar(("a", b"9"), ("b", b"2"), mtime=1_700_000_001))
    [layer] = await pair.compare(first, second)
    assert [file.what for file in layer.files] == [("content", "time"), ("time",)]
    assert not layer.times_only


async def test_files_that_differ_by_their_times_only_are_told_so(pair: Pair) -> None:
    layers = [tar(("a", b"1"), ("b", b"2")), tar(("a", b"1"), ("b", b"2"), mtime=1_700_000_001.5)]
    history = [{"created": "1", "created_by": "RUN x"}], [{"created": "2", "created_by": "RUN x"}]
    first = await pair.image(layers[0], created="1", history=history[0])
    second = await pair.image(layers[1], created="2", history=history[1])
    config, layer = await pair.compare(first, second)
    assert config == Difference("configuration", "linux/amd64", what=("created", "history.created"), times_only=True)
    assert layer.files == (FileDifference("a", ("time",)), FileDifference("b", ("time",)))
    words = "It differs in the configuration and the layer 1, only by the times that are written there; "
    assert summary_of([config, layer]) == f"{words}`reproducible = true` in lumper.toml ends that, if the engine can."
    assert summary_of([config, layer], asked=True).startswith(f"{words}`reproducible = true` is set, but")


@pytest.mark.parametrize("rootfs", [None, 5, [], {}, {"diff_ids": 5}, {"diff_ids": None}, {"diff_ids": [5, None]}])
async def test_a_configuration_that_tells_its_layers_in_no_known_way_is_compared(pair: Pair, rootfs: object) -> None:
    first = await pair.image(SAME, rootfs=rootfs)
    second = await pair.image(SAME, rootfs=rootfs, author="ann")
    [found] = await pair.compare(first, second)
    assert (found.part, found.what) == ("configuration", ("author",))


async def test_a_label_with_a_time_is_no_time_of_the_engine_s(pair: Pair) -> None:
    first = await pair.image(SAME, config={"Labels": {"created": "1"}})
    second = await pair.image(SAME, config={"Labels": {"created": "2"}})
    [found] = await pair.compare(first, second)
    assert (found.what, found.times_only) == (("config.Labels.created",), False)


async def test_the_same_files_packed_in_another_way_are_told_so(pair: Pair) -> None:
    first = await pair.image(gzip.compress(SAME, 1, mtime=0), kind=GZIP)
    second = await pair.image(gzip.compress(SAME, 9, mtime=5), kind=GZIP)
    [found] = await pair.compare(first, second)
    assert found.what == ("packed in another way, with the same files",)
    turned = [tar(("a", b""), ("b", b"")), tar(("b", b""), ("a", b""))]
    [found] = await pair.compare(await pair.image(turned[0]), await pair.image(turned[1]))
    assert "in another order" in found.what[0]


async def test_a_link_an_attribute_and_a_kind_are_part_of_a_file(pair: Pair) -> None:
    first = tar(("a", b""), type=tarfile.SYMTYPE, linkname="one")
    second = tar(("a", b""), type=tarfile.SYMTYPE, linkname="other")
    capable = tar(("a", b""), pax_headers={"SCHILY.xattr.security.capability": "yes"})
    plain = tar(("a", b""), pax_headers={"SCHILY.xattr.security.capability": "no"})
    images = [await pair.image(one) for one in (first, second, capable, plain)]
    [link] = await pair.compare(images[0], images[1])
    [attribute] = await pair.compare(images[2], images[3])
    [kind] = await pair.compare(images[0], images[2])
    assert link.files == (FileDifference("a", ("link",)),)
    assert attribute.files == (FileDifference("a", ("attributes",)),)
    assert kind.files[0].what == ("kind", "content", "link", "attributes")


async def test_layers_platforms_and_annotations_that_one_image_has_alone_are_named(pair: Pair) -> None:
    one, two = await pair.image(SAME), await pair.image(SAME, SAME, annotations={"a": "b"})
    manifest, layer = await pair.compare(one, two)
    assert manifest.what == ("annotations",)
    assert (layer.part, layer.what) == ("layer 2", ("only in the second image",))
    _, layer = await pair.compare(two, one)
    assert (layer.part, layer.what, layer.other) == ("layer 2", ("only in the first image",), "")
    fewer, more = await pair.index(one), await pair.index(one, await pair.image(SAME, variant="v8"))
    for first, second, where in ((fewer, more, "second"), (more, fewer, "first")):
        [found] = await pair.compare(first, second)
        assert (found.platform, found.what) == ("linux/amd64/v8", (f"only in the {where} image",))


def nested(value: object, depth: int) -> object:
    return {"a": nested(value, depth - 1)} if depth else value


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"a": {"b": 1}}, {"a": 1}, ["a"]),
        ({"a": 1}, {"a": {"b": 1}}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": [1]}, {"a": "1"}, ["a"]),
        ({"a": "1"}, {"a": [1]}, ["a"]),
        ({"a": [{"b": 1}, {"b": 1}]}, {"a": [{"b": 2}, {"b": 3}]}, ["a.b"]),
        (nested(1, 9), nested(2, 9), ["a.a.a.a.a.a"]),
        ({f"{n:02}": n for n in range(20)}, {}, [f"{n:02}" for n in range(20)]),
        ({f"{n:02}": n for n in range(23)}, {}, [*(f"{n:02}" for n in range(20)), "3 more fields"]),
    ],
)
def test_the_fields_in_which_documents_differ_are_named(one: object, other: object, names: list[str]) -> None:
    assert differing(one, other) == tuple(names)


async def test_platforms_of_an_index_are_compared_one_by_one(pair: Pair) -> None:
    arm = [await pair.image(tar(("a", content)), architecture="arm64") for content in (b"1", b"2")]
    amd = await pair.image(SAME)
    [found] = await pair.compare(await pair.index(amd, arm[0]), await pair.index(amd, arm[1]))
    assert (found.part, found.platform, found.files[0].path) == ("layer 1", "linux/arm64", "a")


async def test_what_an_engine_tells_of_an_image_beside_it_is_not_a_part_of_the_image(pair: Pair) -> None:
    amd = await pair.image(SAME)
    told = [await pair.image(text, kind="application/vnd.in-toto+json", os="unknown") for text in (b"{}", b"[]")]
    first, second = await pair.index(amd, told[0]), await pair.index(amd, told[1])
    assert first != second
    assert await pair.compare(first, second) == []


async def test_what_cannot_be_read_is_not_compared_and_says_why(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = await pair.compare(await pair.image(SAME), await pair.image(b"no tar file at all" * 99))
    assert found.what[0].startswith("not compared: The layer is no tar file")
    assert not found.times_only
    other, lost = await pair.image(SAME), await pair.image(tar(("lost", b"x")))
    digest = (await platforms_of(pair.registry, "owner/app", await pair.manifest(lost)))[0].layers[0].digest
    await pair.registry.blobs.delete("owner/app", digest)
    [found] = await pair.compare(other, lost)
    assert found.what == (f"not compared: The layer {digest} is not here",)
    monkeypatch.setattr(trees, "MOST_FILES", 2)
    many = [tar(*((f"{number}", content) for number in range(3))) for content in (b"1", b"2")]
    [found] = await pair.compare(await pair.image(many[0]), await pair.image(many[1]))
    assert found.what == ("not compared: more than 2 files, or too long names",)
    monkeypatch.undo()
    monkeypatch.setattr(trees, "MOST_NAMES", 100_000)
    long = [tar((f"{'x' * 60_000}1", content), (f"{'x' * 60_000}2", b"")) for content in (b"1", b"2")]
    [found] = await pair.compare(await pair.image(long[0]), await pair.image(long[1]))
    assert "too long names" in found.what[0]


async def test_the_packages_of_all_platforms_together_are_not_more_than_are_kept(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    apk = "".join(f"P:a{number}\nV:1\n\n" for number in range(4))
    images = [
        await pair.image(tar(("lib/apk/db/installed", f"{apk}P:{name}\nV:1\n".encode())), architecture=name)
        for name in ("amd64", "arm64")
    ]
    index = await pair.manifest(await pair.index(*images))
    at = datetime(2026, 1, 1, tzinfo=UTC)

    assert len((await bill_of(pair.registry, "owner/app", index, "http://x", at))["packages"]) == 1 + 6
    monkeypatch.setattr(layers, "_MOST_PACKAGES", 5)
    with pytest.raises(ArchiveError, match="more than 5 packages"):
        await bill_of(pair.registry, "owner/app", index, "http://x", at)


async def test_of_many_files_the_first_are_listed_and_the_others_counted(pair: Pair) -> None:
    many = [tar(*((f"{number:03}\x1b[31m", content) for number in range(50))) for content in (b"1", b"2")]
    [found] = await pair.compare(await pair.image(many[0]), await pair.image(many[1]))
    assert (len(found.files), found.more) == (trees.MOST_LISTED, 50 - trees.MOST_LISTED)
    assert found.files[0] == FileDifference("000\ufffd[31m", ("content",))

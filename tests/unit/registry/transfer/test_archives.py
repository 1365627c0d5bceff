"""Archives as anyone may have made them: what is no image is an error, and nothing outside is ever read."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lumper.errors import ArchiveError
from lumper.registry.manifest_format import OCI_INDEX
from lumper.registry.transfer.archive import open_archive
from lumper.registry.transfer.tarfile import Tar
from parts.registries.live_registry import OCI_MANIFEST, digest_of, image_manifest

CONFIG = b'{"rootfs": {"diff_ids": []}}'


def tar(
    path: Path, *members: tuple[str, bytes | str], kind: int = tarfile.PAX_FORMAT, file: bytes = tarfile.REGTYPE
) -> Path:
    """A tar file; a member whose content is a text is a symbolic link to it, with a `=` before it a hard one."""
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                hard = content.startswith("=")
                info.type, info.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, content.removeprefix("=")
                archive.addfile(info)
            else:
                info.type, info.size = file, len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def layout(*, layer: bytes = b"layer", name: str = "") -> dict[str, bytes]:
    """The files of an OCI layout."""
    manifest = json.dumps(image_manifest((digest_of(CONFIG), len(CONFIG)), (digest_of(layer), len(layer)))).encode()
    entry: dict[str, Any] = {"mediaType": OCI_MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
    if name:
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    files = {f"blobs/sha256/{digest_of(data)[7:]}": data for data in (CONFIG, layer, manifest)}
    return {**files, "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()}


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


async def whole(path: Path, name: str = "") -> list[bytes]:
    """Read everything that the image refers to."""
    source = open_archive(path, name)
    document = await source.root()
    return [
        b"".join([chunk async for chunk in source.read(link.digest, link.size)]) for link in document.manifest.links
    ]


@pytest.mark.parametrize("file", [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE])
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
async def test_a_layout_is_read_from_any_kind_of_tar(tmp_path: Path, kind: int, file: bytes) -> None:
    files = {f"./{name}": data for name, data in layout(name="x").items()}
    assert await whole(tar(tmp_path / "image.tar", *files.items(), kind=kind, file=file), "x") == [CONFIG, b"layer"]


async def test_long_names_and_links_of_a_saved_image_are_followed(tmp_path: Path) -> None:
    layer, folder = os.urandom(2_000_000), "a" * 120
    config = json.dumps({"rootfs": {"diff_ids": [digest_of(layer)] * 3}}).encode()
    saved = [{"Config": "c.json", "RepoTags": None, "Layers": [f"{folder}/layer.tar", "b/layer.tar", "c/layer.tar"]}]
    members = (
        ("c.json", config),
        (f"{folder}/layer.tar", layer),
        ("b/layer.tar", f"../{folder}/layer.tar"),
        ("c/layer.tar", f"={folder}/layer.tar"),
        ("manifest.json", json.dumps(saved).encode()),
    )
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert await whole(tar(tmp_path / "saved.tar", *members, kind=kind)) == [config, layer, layer, layer]


async def test_layers_of_a_saved_image_may_be_compressed_each(tmp_path: Path) -> None:
    plain = bytes(1 << 20) + b"\x1f\x8b"  # which a later piece of a layer may well begin with
    layers = {"a.tar": plain, "b.tar": gzip.compress(b"layer")}
    config = json.dumps({"rootfs": {"diff_ids": [digest_of(plain), digest_of(b"layer")]}}).encode()
    saved = json.dumps([{"Config": "c.json", "Layers": list(layers)}]).encode()
    source = open_archive(unpacked(tmp_path / "saved", {"c.json": config, "manifest.json": saved, **layers}))

    made = json.loads((await source.root()).body)["layers"]

    kind = "application/vnd.oci.image.layer.v1.tar"
    assert [one["mediaType"] for one in made] == [kind, f"{kind}+gzip"]
    assert [one["digest"] for one in made] == list(map(digest_of, layers.values()))


@pytest.mark.parametrize("told", [True, False])
async def test_documents_of_a_layout_need_not_say_what_they_are(tmp_path: Path, told: bool) -> None:
    image = image_manifest((digest_of(CONFIG), len(CONFIG)))
    manifest = json.dumps(image if told else {**image, "mediaType": ""}).encode()
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
    kind = {"mediaType": OCI_INDEX} if told else {}
    index = json.dumps({"schemaVersion": 2, **kind, "manifests": [entry]}).encode()
    files = {"index.json": json.dumps({"manifests": [{"digest": digest_of(index)}]}).encode()}
    files |= {f"blobs/sha256/{digest_of(data)[7:]}": data for data in (index, manifest)}
    source = open_archive(unpacked(tmp_path / "layout", files))

    assert (await source.root()).manifest.media_type == OCI_INDEX
    assert (await source.manifest(digest_of(manifest))).manifest.media_type == OCI_MANIFEST


def saved_as(**entry: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        told = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l"], **entry}
        files = ("c.json", CONFIG), ("l", b"layer"), ("manifest.json", json.dumps([told]).encode())
        return tar(folder / "saved.tar", *files)

    return make


def broken_layout(change: Callable[[dict[str, bytes]], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        files = layout()
        change(files)
        return tar(folder / "layout.tar", *files.items())

    return make


def replaced(files: dict[str, bytes], size: int, data: bytes) -> None:
    name = next(name for name, content in files.items() if len(content) == size)
    files[name] = data


def changed_manifest(files: dict[str, bytes]) -> None:
    name = next(name for name, content in files.items() if b'"layers"' in content)
    files[name] += b" "


def layout_of(manifest: bytes, told: str = "") -> Callable[[Path], Path]:
    """A layout of whatever stands for a manifest, with a digest that is told of it."""
    digest = digest_of(manifest)
    index = json.dumps({"manifests": [{"digest": told or digest}]}).encode()
    return lambda folder: unpacked(folder / "l", {"index.json": index, f"blobs/sha256/{digest[7:]}": manifest})


def linked(folder: Path) -> Path:
    unpacked(folder / "layout", layout())
    blob = folder / "layout/blobs/sha256" / digest_of(b"layer")[7:]
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    return folder / "layout"


def instead(make: Callable[[Path], None]) -> Callable[[Path], Path]:
    """A layout with something else in the place of its layer."""

    def made(folder: Path) -> Path:
        unpacked(folder / "layout", layout())
        blob = folder / "layout/blobs/sha256" / digest_of(b"layer")[7:]
        blob.unlink()
        make(blob)
        return folder / "layout"

    return made


def saved_folder(config: bytes, **entry: Any) -> Callable[[Path], Path]:
    """The files of a `docker save` in a folder."""
    saved = json.dumps([{"Config": "c", "Layers": ["l"], **entry}]).encode()
    return lambda folder: unpacked(folder / "saved", {"manifest.json": saved, "c": config, "l": b"layer"})


def configured(*layers: bytes) -> bytes:
    """The config of an image of these layers."""
    return json.dumps({"rootfs": {"diff_ids": [digest_of(layer) for layer in layers]}}).encode()


def documents(**named: bytes) -> Callable[[Path], Path]:
    return lambda folder: unpacked(folder / "some", {f"{name}.json": data for name, data in named.items()})


def circle(folder: Path) -> Path:
    (folder / "circle").symlink_to("circle")
    return folder


def bytes_of(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "file").write_bytes(data)
        return folder / "file"

    return make


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)], block[124 : 124 + len(size)], block[156:157] = name, size, kind
    block[257:263], block[148:156] = b"ustar\0", b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def pax(record: bytes) -> bytes:
    """A header of a record, and the record."""
    return header(b"x", b"%011o\0" % len(record), b"x") + record.ljust(512, b"\0")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (bytes_of(b""), "has nothing in it"),
        (bytes_of(b"hello"), "no tar file, or cut off"),
        (bytes_of(bytes(range(256)) * 16), "no tar file, or damaged"),
        (bytes_of(gzip.compress(b"x" * 10_000)), "is compressed"),
        (bytes_of(header(b"index.json", b"77777777777\0")), "is cut off"),
        (bytes_of(header(b"x", b"\x80" + b"\xff" * 11)), "is no number"),
        (bytes_of(pax(b"11 size=-1\n") + header(b"y", b"0")), "has neither"),
        (bytes_of(pax(b"999999999999999 path=x") + b"\0" * 512), "has nothing in it"),
        (bytes_of(header(b"x", b"00010000000\0", b"L") + b"n" * (2 << 20)), "header of more than"),
        (bytes_of(header(b"index.json", b"0")[:400]), "no tar file, or cut off"),
        ((lambda folder: folder), "has neither"),
        ((lambda folder: folder / "nothing"), "No such file"),
        ((lambda folder: unpacked(folder / "l", {"index.json": b"{"})), "is not JSON"),
        ((lambda folder: unpacked(folder / "l", {"index.json": b"[" * 100_000})), "is not JSON"),
        (layout_of(b"", "sha256:../../../etc"), "There is no image in"),
        ((lambda folder: unpacked(folder / "l", {"index.json": b" " * (9 << 20)})), "larger than any"),
        (linked, "leads out of it"),
        (instead(os.mkfifo), "is not a file"),
        (instead(Path.mkdir), "is not a file"),
        (broken_layout(lambda files: replaced(files, 5, b"LAYER")), "not what its digest says"),
        (broken_layout(lambda files: replaced(files, 5, b"layer and more")), "not what its digest says"),
        (broken_layout(lambda files: replaced(files, 5, b"lay")), "not what its digest says"),
        (broken_layout(changed_manifest), "another digest"),
        (layout_of(b"{}"), "is not a manifest"),
        (broken_layout(lambda files: replaced(files, len(CONFIG), b"")), "not what its digest says"),
        (broken_layout(lambda files: files.pop(f"blobs/sha256/{digest_of(b'layer')[7:]}")), "lacks blobs/"),
        (saved_as(Layers=["../../../etc/passwd"]), "lacks .*etc/passwd"),
        (saved_as(Layers=["/etc/passwd"]), "lacks .*etc/passwd"),
        (saved_as(Layers="l"), "not a list"),
        (saved_as(Layers=["l"] * 2000), "more layers than"),
        (saved_as(Config="nothing"), "lacks nothing"),
        (saved_as(Config=None), "lacks None"),
        (saved_as(), "not those that its config names"),  # its config names no such layer
        (saved_as(RepoTags=5), "not those that its config names"),
        (saved_folder(b'{"rootfs": null}'), "not those that its config names"),
        (saved_folder(b'{"rootfs": []}'), "not those that its config names"),
        (saved_folder(b"[]"), "not those that its config names"),
        (saved_folder(configured(b"layer", b"layer")), "not those that its config names"),  # one is missing
        (saved_folder(configured(b"layer"), Layers=["l", "l"]), "not those that its config names"),
        (saved_folder(configured(b"layer", b"c"), Layers=["c", "l"]), "not those that its config names"),
        (documents(index=b"[5]"), "no list of images"),
        (documents(index=b'{"manifests": []}'), "no list of images"),
        (documents(index=b'{"manifests": [5]}'), "no list of images"),
        (documents(manifest=b'{"Layers": []}'), "no list of images"),
        (documents(manifest=b"[5]"), "no list of images"),
        (saved_folder(CONFIG, Layers=["nul\0"]), "null byte"),
        (saved_folder(CONFIG, Layers=["\ud800"]), "surrogates"),
        (saved_folder(CONFIG, Layers=["long" * 9999]), "File name too long"),
        ((lambda folder: circle(saved_folder(CONFIG, Layers=["circle"])(folder))), "Symlink loop"),
        ((lambda folder: tar(folder / "t", ("manifest.json", "a"), ("a", "b"), ("b", "a"))), "in a circle"),
        ((lambda folder: tar(folder / "t", ("index.json", "../../etc/passwd"), ("x", b""))), "has neither"),
    ],
)  # fmt: skip
async def test_what_is_no_image_is_an_error(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(ArchiveError, match=says) as wrong:
        await whole(make(tmp_path))
    assert wrong.value.hint
    assert wrong.value.message.isprintable()


def test_too_many_members_are_too_many(tmp_path: Path) -> None:
    (tmp_path / "many").write_bytes(header(b"x", b"0") * 100_001)
    with (tmp_path / "many").open("rb") as file, pytest.raises(ArchiveError, match="more than"):
        Tar(file, tmp_path / "many")


def several(folder: Path, *named: tuple[bytes, str, str]) -> Path:
    """A layout of images, each by its layer, with annotations as engines from 25 on write them."""
    entries, files = [], dict[str, bytes]()
    for layer, full, tag in named:
        files |= layout(layer=layer)
        names = {"io.containerd.image.name": full, "org.opencontainers.image.ref.name": tag}
        entries.append({**json.loads(files["index.json"])["manifests"][0], "annotations": names})
    files["index.json"] = json.dumps({"manifests": entries}).encode()
    return unpacked(folder, files)


async def test_one_of_several_images_is_named_as_people_type_it(tmp_path: Path) -> None:
    one, two = ("docker.io/library/one:1", "1"), ("docker.io/team/two:2", "2")
    path = several(tmp_path / "layout", (b"first", *one), (b"second", *two))

    for name in ("one:1", "docker.io/library/one:1", "1"):
        assert await whole(path, name) == [CONFIG, b"first"]
    for name in ("team/two:2", "docker.io/team/two:2", "2"):
        assert await whole(path, name) == [CONFIG, b"second"]
    with pytest.raises(ArchiveError, match="2 images") as ambiguous:
        open_archive(path)
    assert "1, 2, one:1, team/two:2" in ambiguous.value.hint
    with pytest.raises(ArchiveError, match="no image two:2"):
        open_archive(path, "two:2")
    with pytest.raises(ArchiveError, match="no image library/one:1"):
        open_archive(path, "library/one:1")


async def test_one_image_with_several_names_needs_none(tmp_path: Path) -> None:
    names = ("docker.io/library/one:1", "1"), ("docker.io/library/one:latest", "latest")
    path = several(tmp_path / "layout", *((b"layer", *each) for each in names))

    assert await whole(path) == await whole(path, "one:latest") == [CONFIG, b"layer"]


async def test_an_index_of_more_platforms_than_were_saved_names_the_way_out(tmp_path: Path) -> None:
    files = layout()
    there = json.loads(files["index.json"])["manifests"][0]
    lost = digest_of(b"lost")
    absent = {"mediaType": OCI_MANIFEST, "digest": lost, "size": 6}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [there, absent]}).encode()
    files[f"blobs/sha256/{digest_of(index)[7:]}"] = index
    entry = {"mediaType": OCI_INDEX, "digest": digest_of(index), "size": len(index)}
    files["index.json"] = json.dumps({"manifests": [entry]}).encode()
    source = open_archive(unpacked(tmp_path / "layout", files))

    with pytest.raises(ArchiveError, match=f"lacks the manifest {lost}") as lacking:
        await source.manifest(lost)
    assert "--platform" in lacking.value.hint


async def test_what_refers_to_an_image_of_a_layout_is_found_in_its_index(tmp_path: Path) -> None:
    files = layout()
    image = json.loads(files["index.json"])["manifests"][0]
    signature = json.dumps(image_manifest((digest_of(CONFIG), len(CONFIG)), subject=image)).encode()
    tag = f"{image['digest'].replace(':', '-')}.sig"
    name = {"org.opencontainers.image.ref.name": tag}
    others = [{**image, "digest": digest_of(signature), "size": len(signature), "annotations": name}]
    named = {**image, "annotations": {"org.opencontainers.image.ref.name": "1"}}
    files[f"blobs/sha256/{digest_of(signature)[7:]}"] = signature
    files["index.json"] = json.dumps({"manifests": [named, *others, {"digest": "none"}, {}]}).encode()

    source = open_archive(unpacked(tmp_path / "layout", files), "1")

    assert (await source.root()).manifest.digest == image["digest"]
    assert await source.referrers(image["digest"]) == [digest_of(signature)]
    assert await source.referrers(digest_of(signature)) == []
    assert await source.beside(image["digest"]) == [(tag, digest_of(signature))]
    assert await source.beside(digest_of(signature)) == []


async def test_a_tag_may_list_what_refers_to_an_image_of_a_layout_and_what_cannot_be_read_is_passed_over(
    tmp_path: Path,
) -> None:
    files = layout()
    image = json.loads(files["index.json"])["manifests"][0]
    signature = json.dumps(image_manifest((digest_of(CONFIG), len(CONFIG)), subject=image)).encode()
    lost = {**image, "digest": digest_of(b"deleted since")}
    refers = {**image, "digest": digest_of(signature), "size": len(signature)}
    listing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [lost, refers]}
    index = json.dumps(listing).encode()
    tag = {"org.opencontainers.image.ref.name": image["digest"].replace(":", "-")}
    listed = {"mediaType": OCI_INDEX, "digest": digest_of(index), "size": len(index), "annotations": tag}
    named = {**image, "annotations": {"org.opencontainers.image.ref.name": "1"}}
    no_manifest = {"mediaType": "text/plain", "digest": digest_of(b"layer"), "size": 5}
    files |= {f"blobs/sha256/{digest_of(data)[7:]}": data for data in (signature, index)}
    files["index.json"] = json.dumps({"manifests": [no_manifest, lost, named, listed]}).encode()

    source = open_archive(unpacked(tmp_path / "layout", files), "1")

    assert await source.referrers(image["digest"]) == [digest_of(signature)]
    assert await source.referrers(digest_of(signature)) == []


@pytest.mark.parametrize(
    ("names", "wanted", "says", "hint"),
    [
        ((), "x", "no image x in", "has no name"),
        ((), "", "2 images in", "no names"),
        (("one:1", "two:2"), "x\n", "no image x", "It has: one:1, two:2."),
        (("one:1", "two:2"), "", "2 images in", "PATH:NAME: one:1, two:2."),
    ],
)
def test_who_names_no_one_image_is_told_which_there_are(
    tmp_path: Path, names: tuple[str, ...], wanted: str, says: str, hint: str
) -> None:
    saved = [{"Config": "c", "Layers": [], "RepoTags": [name]} for name in names] or [{"Config": "c"}, {"Config": "d"}]
    path = unpacked(tmp_path / "saved", {"manifest.json": json.dumps(saved).encode()})

    with pytest.raises(ArchiveError, match=says) as wrong:
        open_archive(path, wanted)
    assert hint in wrong.value.hint
    assert wrong.value.message.isprintable()

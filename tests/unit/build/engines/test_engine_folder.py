"""The folder of an engine, read with care: who made an image has chosen the names in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.push.direct_push import is_insecure
from lumper.build.engines.buildkit.push.folder import EngineFolder, FolderLocation, NotThere, chain_id

BLOCK = 1000


class Folder:
    """An engine's folder with one layer, of the files of a tar that `files` makes."""

    def __init__(self, root: Path, files: dict[str, bytes]) -> None:
        self.root = root
        self.diff = root / "overlay2/cache1/diff"
        self.diff.mkdir(parents=True)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        self.tar = buffer.getvalue()
        self.records = self._split(files)
        self.diff_id = f"sha256:{hashlib.sha256(self.tar).hexdigest()}"
        self.write()

    def _split(self, files: dict[str, bytes]) -> list[dict[str, object]]:
        records: list[dict[str, object]] = []
        place = 0
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as archive:
            for member in archive:
                head = self.tar[place : member.offset_data]
                records.append({"type": 2, "payload": base64.b64encode(head).decode()})
                records.append({"type": 1, "name": member.name, "size": member.size})
                path = self.diff / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files[member.name])
                place = member.offset_data + member.size
        records.append({"type": 2, "payload": base64.b64encode(self.tar[place:]).decode()})
        return records

    def write(self) -> None:
        entry = self.entry
        entry.mkdir(parents=True, exist_ok=True)
        (entry / "diff").write_text(self.diff_id)
        (entry / "cache-id").write_text("cache1")
        with gzip.open(entry / "tar-split.json.gz", "wt") as output:
            output.writelines(json.dumps(record) + "\n" for record in self.records)

    @property
    def entry(self) -> Path:
        return self.root / "image/overlay2/layerdb" / self.diff_id.replace(":", "/")

    def read(self) -> list[bytes]:
        return list(EngineFolder(self.root).layer([self.diff_id], BLOCK))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(
        tmp_path, {"a/b/one": b"1" * 2500, "a/b/two": b"22", "a/three": b"333", "none": b"", "top": b"4" * 999}
    )


def test_a_layer_is_read_bit_for_bit_in_blocks_of_one_size(folder: Folder) -> None:
    blocks = folder.read()

    assert b"".join(blocks) == folder.tar
    assert {len(block) for block in blocks[:-1]} == {BLOCK}


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"file": b"content"})
    raw = b"caf\xe9"
    (folder.diff / "file").rename(os.fsdecode(os.fsencode(folder.diff) + b"/" + raw))
    folder.records[1] = {"type": 1, "name_raw": base64.b64encode(raw).decode(), "size": 7}
    folder.write()

    assert b"".join(folder.read()) == folder.tar


@pytest.mark.parametrize("name", ["../../../secret", "a/../../secret", ".."])
def test_no_name_leads_out(folder: Folder, name: str) -> None:
    (folder.root / "secret").write_bytes(b"1" * 2500)
    folder.records[1]["name"] = name
    folder.write()

    with pytest.raises(NotThere):
        folder.read()


def test_no_link_is_followed(folder: Folder) -> None:
    secret = folder.root / "secret"
    secret.mkdir()
    (secret / "one").write_bytes(b"1" * 2500)
    for path, target in ((folder.diff / "a/b/one", secret / "one"), (folder.diff / "a/b", secret)):
        aside = path.with_name("aside")
        path.rename(aside)
        path.symlink_to(target)
        with pytest.raises(NotThere):
            folder.read()
        path.unlink()
        aside.rename(path)


def test_nothing_but_a_file_of_that_size_is_read(folder: Folder) -> None:
    path = folder.diff / "a/b/two"
    path.write_bytes(b"222")
    with pytest.raises(NotThere, match="is not the file"):
        folder.read()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(NotThere):
        folder.read()


@pytest.mark.parametrize("damage", ["records", "missing", "other", "foreign", "elsewhere"])
def test_a_layer_that_is_not_as_we_know_it_is_not_there(folder: Folder, damage: str) -> None:
    match damage:
        case "records":
            (folder.entry / "tar-split.json.gz").write_bytes(b"nothing")
        case "missing":
            (folder.diff / "top").unlink()
        case "other":
            (folder.entry / "diff").write_text("sha256:" + "0" * 64)
        case "foreign":
            (folder.entry / "descriptor.json").write_text("{}")
        case "elsewhere":
            (folder.entry / "cache-id").write_text("../cache1")

    with pytest.raises(NotThere):
        folder.read()


def test_a_config_is_what_its_digest_says(tmp_path: Path) -> None:
    folder, body = EngineFolder(tmp_path), b'{"rootfs": {}}'
    name = f"sha256:{hashlib.sha256(body).hexdigest()}"
    path = tmp_path / "image/overlay2/imagedb/content" / name.replace(":", "/")
    path.parent.mkdir(parents=True)
    path.write_bytes(body)
    assert folder.config(name) == body

    path.write_bytes(body + b" ")
    with pytest.raises(NotThere):
        folder.config(name)
    with pytest.raises(NotThere):
        folder.config("sha256:" + "0" * 64)


def test_places_are_those_that_the_engine_knows(tmp_path: Path) -> None:
    diff_id, digest = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    path = tmp_path / "image/overlay2/distribution/v2metadata-by-diffid" / diff_id.replace(":", "/")
    path.parent.mkdir(parents=True)
    assert EngineFolder(tmp_path).places(diff_id) == []
    path.write_text(json.dumps([{"Digest": digest, "SourceRepository": "registry.test/app", "HMAC": ""}]))
    assert EngineFolder(tmp_path).places(diff_id) == [FolderLocation(digest, "registry.test/app")]
    path.write_text('[{"Digest": "../../x", "SourceRepository": "registry.test/app"}]')
    assert EngineFolder(tmp_path).places(diff_id) == []
    path.write_text("{")
    assert EngineFolder(tmp_path).places(diff_id) == []


def test_chain_ids_are_those_of_the_image_specification() -> None:
    one, two, three = ("sha256:" + digit * 64 for digit in "123")
    both = "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest()

    assert chain_id([one]) == one
    assert chain_id([one, two]) == both
    assert chain_id([one, two, three]) == "sha256:" + hashlib.sha256(f"{both} {three}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("127.0.0.1:5000", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("10.1.2.3:5000", True),
        ("10.2.2.3:5000", False),
        ("registry.example.org", False),
        ("registry.example.org:5000", False),
        ("plain.example.org", True),
        ("docker.io", False),
    ],
)
def test_which_registries_an_engine_speaks_to_without_tls(host: str, insecure: bool) -> None:
    known = {
        "InsecureRegistryCIDRs": ["10.1.0.0/16", "127.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "plain.example.org": {"Secure": False}},
    }
    assert is_insecure(host, known) is insecure

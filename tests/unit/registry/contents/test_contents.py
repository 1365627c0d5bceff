"""What is in an image: packages that its layers name, and layers that somebody made to do harm."""

from __future__ import annotations

import contextlib
import gzip
import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.errors import ArchiveError
from lumper.model.builds.verification import FileDifference
from lumper.registry.contents import layers
from lumper.registry.contents.layers import Reader
from lumper.registry.contents.packages import Package, packages_in
from lumper.registry.contents.spdx import spdx
from lumper.registry.contents.trees import TreeComparison
from lumper.registry.tar import TarStream
from parts.registries.package_layers import APK, DPKG, GZIP, PLAIN, contents, layer, names

WHEEL = "Metadata-Version: 2.1\nName: Typing_Extensions\nVersion: 4.12.2\n\nName: not this\n"
NPM = '{"name": "@scope/left-pad", "version": "1.3.0"}'


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_packages_of_every_kind_are_found(form: int) -> None:
    deep = "usr/" + "very-long-name/" * 20
    reader = Reader()
    files = {
        "./etc/os-release": 'NAME="Debian"\nID=debian\nVERSION_ID="12"\n',
        "var/lib/dpkg/status": DPKG,
        "lib/apk/db/installed": APK,
        f"{deep}typing_extensions-4.12.2.dist-info/METADATA": WHEEL,
        "app/node_modules/@scope/left-pad/package.json": NPM,
        "app/node_modules/@scope/left-pad/test/package.json": '{"name": "fixture", "version": "1"}',
        "app/package.json": '{"name": "ours", "version": "1"}',
    }
    reader.add(layer(files, form=form), GZIP)
    urls = [package.url({"ID": "debian", "VERSION_ID": "12"}) for package in reader.contents.packages]
    assert reader.contents.distribution["ID"] == "debian"
    assert urls == [
        "pkg:apk/debian/musl@1.2.5-r0?arch=x86_64&distro=debian-12",
        "pkg:apk/debian/zlib@1.3.1-r1?arch=x86_64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=debian-12",
        "pkg:npm/%40scope/left-pad@1.3.0",
        "pkg:pypi/typing-extensions@4.12.2",
    ]


@pytest.mark.parametrize(
    "upper",
    [
        {"app/node_modules/a/.wh.package.json": ""},
        {"app/node_modules/.wh.a": ""},
        {"app/.wh.node_modules": ""},
        {"app/.wh..wh..opq": ""},
        {".wh.app": ""},
        {".wh..wh..opq": ""},
        {"app": None},
    ],
    ids=lambda upper: next(iter(upper)),
)
def test_what_an_upper_layer_removes_is_not_in_the_image(upper: Mapping[str, str | None]) -> None:
    lower = {"app/node_modules/a/package.json": '{"name": "a", "version": "1"}'}
    assert names(contents(lower)) == ["a"]
    assert names(contents(lower, upper)) == []
    assert names(contents(lower, upper, lower)) == ["a"]


def test_a_removal_is_not_of_its_own_layer() -> None:
    new = {"a/.wh..wh..opq": "", "a/node_modules/b/package.json": '{"name": "b", "version": "2"}'}
    assert names(contents({"a/node_modules/a/package.json": '{"name": "a", "version": "1"}'}, new)) == ["b"]


def test_an_upper_layer_has_the_last_word() -> None:
    newer = contents({"lib/apk/db/installed": APK}, {"lib/apk/db/installed": "P:musl\nV:9\nA:x86_64\n"})
    assert [(package.name, package.version) for package in newer.packages] == [("musl", "9")]


# Layers that mean harm


def test_a_bomb_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST_UNPACKED", 1 << 20)
    with pytest.raises(ArchiveError, match="unpacks to more"):
        Reader().add(layer({"zeros": b"\0" * (4 << 20)}), GZIP)


def test_a_header_of_any_size_is_not_read() -> None:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(ArchiveError, match="header of more"):
        Reader().add(io.BytesIO(entry.tobuf(tarfile.GNU_FORMAT)), PLAIN)


@pytest.mark.parametrize("cut", [100, 700, 1500])
def test_of_what_is_cut_off_nothing_is_believed(cut: int) -> None:
    plain = gzip.decompress(layer({"lib/apk/db/installed": APK, "x": b"y" * 2000}).getvalue())
    reader = Reader()
    with pytest.raises(ArchiveError, match="cut off"):
        reader.add(io.BytesIO(plain[:cut]), PLAIN)
    assert names(reader.contents) == []


@pytest.mark.parametrize("junk", [b"junk" * 500, b"\x1f\x8b" + b"\xff" * 100])
@pytest.mark.parametrize("kind", [GZIP, PLAIN])
def test_junk_is_no_layer(junk: bytes, kind: str) -> None:
    with pytest.raises(ArchiveError):
        list(TarStream(io.BytesIO(junk), 1 << 20).members()) if kind == PLAIN else Reader().add(io.BytesIO(junk), kind)


def test_another_packing_is_refused_in_words() -> None:
    with pytest.raises(ArchiveError, match=r"tar\+lzma"):
        Reader().add(io.BytesIO(b""), "application/vnd.oci.image.layer.v1.tar+lzma")


def test_several_members_of_gzip_and_zeros_after_them_are_one_layer() -> None:
    plain = gzip.decompress(layer({"lib/apk/db/installed": APK}).getvalue())
    packed = b"".join(gzip.compress(plain[place : place + 700]) for place in range(0, len(plain), 700))
    reader = Reader()
    reader.add(io.BytesIO(packed + b"\0" * 200_000), GZIP)
    assert names(reader.contents) == ["musl", "zlib"]


def test_what_each_of_many_layers_writes_anew_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_PACKAGES", 5)
    assert names(contents(*[{"lib/apk/db/installed": APK}] * 9)) == ["musl", "zlib"]


def test_what_unpacks_to_a_thousand_times_as_much_is_read_to_its_end() -> None:
    assert names(contents({"zeros": b"\0" * (3 << 20), "lib/apk/db/installed": APK})) == ["musl", "zlib"]


def test_a_member_of_gzip_may_end_where_a_piece_ends() -> None:
    plain = gzip.decompress(layer({"lib/apk/db/installed": APK}).getvalue())
    members = [gzip.compress(plain[place : place + 700]) for place in range(0, len(plain), 700)]

    class Pieces:
        def read(self, _size: int, /) -> bytes:
            return members.pop(0) if members else b""

    reader = Reader()
    reader.add(Pieces(), GZIP)
    assert names(reader.contents) == ["musl", "zlib"]


def test_only_files_that_tell_of_packages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_PACKAGES", 5)
    others = {f"srv/{number}": "Package: a\nVersion: 1\n" for number in range(9)}
    found = contents({**others, "var/lib/rpm/Packages": None, "usr/lib/os-release": "ID=alpine\n"})
    assert (found.packages, found.unread, found.distribution) == ([], set(), {"ID": "alpine"})


def test_what_is_too_large_to_be_believed_is_told_as_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_MOST_FILE", "_MOST_LIST", "_MOST_DATABASE"):
        monkeypatch.setattr(layers, limit, 10)
    files = ("etc/os-release", "var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "node_modules/a/package.json")
    assert contents(dict.fromkeys(files, "ID=much too long\n")).unread == {*files}


def test_more_packages_than_are_kept_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_PACKAGES", 1)
    with pytest.raises(ArchiveError, match="more than 1 packages"):
        contents({"lib/apk/db/installed": APK})


def test_files_that_tell_of_nothing_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_PACKAGES", 50)
    with pytest.raises(ArchiveError, match="more than 50 packages"):
        contents({f"{number}/node_modules/a/package.json": "" for number in range(51)})


def test_more_is_not_told_of_packages_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_TOLD", 1000)
    some = [{f"{number}/node_modules/a/package.json": NPM} for number in range(30)]
    assert len(contents(*[{"app/node_modules/a/package.json": NPM}] * 30).packages) == 1
    with pytest.raises(ArchiveError, match="more than 1000 characters"):
        contents(*some)


def sparse(folder: Path, kind: str, content: bytes) -> bytes:
    """A layer as GNU tar makes it of a file with more holes than its header has room for, and of another file."""
    (folder / "lib/apk/db").mkdir(parents=True, exist_ok=True)
    (folder / "lib/apk/db/installed").write_text(APK)
    with (folder / "holes").open("wb") as file:
        for number in range(30):
            file.seek(number << 16)
            file.write(content * 512)
        file.truncate(31 << 16)
    options = ("--sparse", "--hole-detection=raw", f"--format={kind}", "--sort=name", "--mtime=@0")
    return subprocess.run(["tar", "-C", folder, "-c", *options, "."], check=True, capture_output=True).stdout


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_files_with_holes_are_part_of_a_layer(tmp_path: Path, kind: str) -> None:
    one, other = sparse(tmp_path, kind, b"12345678"), sparse(tmp_path, kind, b"87654321")
    reader = Reader()
    reader.add(io.BytesIO(one), PLAIN)
    assert names(reader.contents) == ["musl", "zlib"]
    for second, differ in ((one, []), (other, [FileDifference("holes", ("content",))])):
        comparison = TreeComparison()
        comparison.first(io.BytesIO(one), PLAIN)
        assert comparison.second(io.BytesIO(second), PLAIN).files == differ


def test_a_map_of_holes_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    layer = sparse(tmp_path, "gnu", b"12345678")
    start = layer.index(b"./holes\0")
    with pytest.raises(ArchiveError, match="cut off"):
        Reader().add(io.BytesIO(layer[: start + 512]), PLAIN)


def test_paths_too_long_for_any_system_are_passed_over() -> None:
    deep = "a/" * 100_000
    found = contents(
        {f"{deep}node_modules/a/package.json": '{"name": "a", "version": "1"}', "lib/apk/db/installed": APK}
    )
    assert names(found) == ["musl", "zlib"]


def test_folders_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MOST_NAMES", 10_000)
    reader = Reader()
    reader.add(layer({f"{number}/{'d/' * 200}node_modules/a/package.json": NPM for number in range(9)}), GZIP)
    with pytest.raises(ArchiveError, match="characters"):
        reader.add(layer({"x": ""}), GZIP)


def test_of_a_million_removals_only_those_are_kept_that_remove_something() -> None:
    removals = io.BytesIO()
    with tarfile.open(fileobj=removals, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(2000):
            tar.addfile(tarfile.TarInfo(f"{number}{'x' * 20_000}/.wh.y"))
        tar.addfile(tarfile.TarInfo("lib/apk/db/.wh.installed"))
    reader = Reader()
    reader.add(layer({"lib/apk/db/installed": APK, "node_modules/a/package.json": NPM}), GZIP)
    tracemalloc.start()
    reader.add(io.BytesIO(removals.getvalue()), PLAIN)
    assert tracemalloc.get_traced_memory()[1] - len(removals.getvalue()) < 8 << 20
    tracemalloc.stop()
    assert names(reader.contents) == ["@scope/left-pad"]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_layer_is_an_error_or_another_layer_but_nothing_else(data: st.DataObject) -> None:
    files = {"lib/apk/db/installed": APK, "a/" * 80 + "node_modules/b/package.json": NPM}
    plain = bytearray(gzip.decompress(layer(files).getvalue()))
    for place in data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=8)):
        plain[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # with sums that fit
        for start in range(0, len(plain), 512):
            block = plain[start : start + 512]
            if block[257:262] == b"ustar":
                total = sum(block) - sum(block[148:156]) + 8 * 0x20
                plain[start + 148 : start + 156] = b"%06o\0 " % total
    with contextlib.suppress(ArchiveError):
        Reader().add(io.BytesIO(bytes(plain)), PLAIN)
    with contextlib.suppress(ArchiveError):
        comparison = TreeComparison()
        comparison.first(io.BytesIO(bytes(plain)), PLAIN)
        comparison.second(io.BytesIO(bytes(plain)), PLAIN)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("node_modules/a/package.json", "[" * 100_000),
        ("node_modules/a/package.json", '{"name": 1, "version": "1"}'),
        ("node_modules/a/package.json", '{"name": "a\\u0000b", "version": "1"}'),
        ("var/lib/dpkg/status", "Package: " + "x" * 5000 + "\nVersion: 1\n"),
        ("var/lib/dpkg/status", "Package: a\nVersion: " + "1" * 257 + "\n"),
        ("var/lib/dpkg/status", "Package: a\nVersion: 1\nArchitecture: " + "x" * 257 + "\n"),
        ("lib/apk/db/installed", "P:\nV:\n"),
    ],
)
def test_nonsense_is_no_package(path: str, text: str) -> None:
    assert names(contents({path: text})) == []


MANY = "a:\n" * 100_000


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.dist-info/METADATA", f"Name: a\nVersion: 1\n{MANY}"),
        ("var/lib/dpkg/status", f"Package: a\nVersion: 1\n{MANY}"),
        ("lib/apk/db/installed", f"P:a\nV:1\n{MANY}"),
    ],
    ids=["headers", "dpkg", "apk"],
)
def test_a_file_that_goes_on_and_on_takes_little_memory(path: str, text: str) -> None:
    content = text.encode()
    tracemalloc.start()
    found = [(package.name, package.version) for package in packages_in(path, content)]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [("a", "1")]
    assert most < 4 << 20


def test_packages_of_which_each_has_a_file_of_its_own_are_found() -> None:
    assert names(contents({"var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\n"})) == ["base-files"]


@pytest.mark.parametrize(
    ("release", "told", "url"),
    [
        ("# Alpine=1\nID\n", {}, "pkg:apk/unknown/musl@1?arch=x"),
        ("ID=alpine\n", {"ID": "alpine"}, "pkg:apk/alpine/musl@1?arch=x"),
        ("VERSION_ID='3.20'\n", {"VERSION_ID": "3.20"}, "pkg:apk/unknown/musl@1?arch=x"),
        ("ID=a\nVERSION_ID=3\n", {"ID": "a", "VERSION_ID": "3"}, "pkg:apk/a/musl@1?arch=x&distro=a-3"),
    ],
)
def test_a_package_is_that_of_its_distribution_as_far_as_it_is_told(
    release: str, told: Mapping[str, str], url: str
) -> None:
    distribution = contents({"etc/os-release": release}).distribution
    assert distribution == told
    assert Package("apk", "musl", "1", "x").url(distribution) == url


def test_a_path_that_climbs_stays_inside() -> None:
    assert names(contents({"../../lib/apk/db/installed": APK})) == ["musl", "zlib"]


def test_the_document_names_every_package_once() -> None:
    packages = [Package("apk", "musl", "1", "x86_64", "lib/apk/db/installed"), Package("npm", "a", "1", "", "n")]
    made = spdx(
        "h/x", "sha256:" + "ab" * 32, "http://x/1", datetime(2026, 1, 1, tzinfo=UTC), packages, {"ID": "alpine"}
    )
    image, *listed = made["packages"]
    assert image["checksums"] == [{"algorithm": "SHA256", "checksumValue": "ab" * 32}]
    assert [one["externalRefs"][0]["referenceLocator"] for one in listed] == [
        "pkg:apk/alpine/musl@1?arch=x86_64",
        "pkg:npm/a@1",
    ]
    related = [one["relatedSpdxElement"] for one in made["relationships"] if one["relationshipType"] == "CONTAINS"]
    assert related == [one["SPDXID"] for one in listed]
    assert len(set(related)) == 2

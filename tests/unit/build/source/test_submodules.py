from __future__ import annotations

import pytest

from lumper.build.source.lfs import Pointer, lfs_url, parse_batch, parse_pointer, web_url
from lumper.build.source.submodules import parse_modules, submodule_url
from lumper.build.source.trees import FOLDER, Put, tree_object
from lumper.errors import SourceError, SourceRefused
from lumper.model.source import parse_git_url


@pytest.mark.parametrize(
    ("parent", "url", "whole"),
    [
        ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
        ("https://h:8443/a/b/", "../../x/c", "https://h:8443/x/c"),
        ("https://h/a/b.git", "./c.git", "https://h/a/b.git/c.git"),
        ("git@h:a/b.git", "../c.git", "git@h:a/c.git"),
        ("git@h:a/b.git", "../../x/c.git", "git@h:x/c.git"),
        ("ssh://git@h:22/a/b.git", "../c.git", "ssh://git@h:22/a/c.git"),
        ("https://h/a/b.git", "https://other/x/y", "https://other/x/y"),
        ("/srv/git/b.git", "../c.git", "/srv/git/c.git"),
    ],
)
def test_urls_of_submodules_are_relative_to_that_of_the_repository(parent: str, url: str, whole: str) -> None:
    assert submodule_url(url, parse_git_url(parent)).url == whole


@pytest.mark.parametrize(
    ("parent", "url"),
    [
        ("https://h/a/b.git", "../../../other/x/y"),
        ("git@h:a/b.git", "../../../x"),
        ("https://h/a/b.git", "/srv/git/c.git"),
        ("/srv/git/b.git", "/etc/c.git"),
        ("/srv/git/b.git", "../../c.git"),
        ("https://h/a/b.git", "-u./payload"),
        ("https://h/a/b.git", "../-x"),
        ("https://h/a/b.git", "ext::sh -c id"),
        ("https://h/a/b.git", "../c.git\r"),
        ("https://h/a/b.git", ""),
    ],
)
def test_urls_that_leave_the_server_or_mean_something_else_are_refused(parent: str, url: str) -> None:
    with pytest.raises(SourceRefused):
        submodule_url(url, parse_git_url(parent))


def test_a_submodule_has_a_path_and_a_url_and_its_name_does_not_matter() -> None:
    keys = (
        b"core.x\ny",
        b"submodule.../../x.path\nlib/",
        b"submodule.../../x.url\n../l",
        b"submodule.a.b.url\nu",
        b"k",
    )
    listing = b"".join(key + b"\0" for key in (*keys, b"submodule.a.path\nq"))
    assert parse_modules(listing) == {"lib": "../l"}


def test_trees_are_sorted_as_git_sorts_them() -> None:
    entries = [(b"a", Put(FOLDER, "00")), (b"a-b", Put(b"100644", "01")), (b"a.b", Put(b"100644", "02"))]
    assert tree_object(entries) == b"100644 a-b\0\x01100644 a.b\0\x0240000 a\0\x00"


def test_pointers_are_exactly_what_the_specification_says() -> None:
    head, rest = b"version https://git-lfs.github.com/spec/v1\n", b"oid sha256:" + b"a" * 64 + b"\nsize 12\n"
    assert parse_pointer(head + rest) == Pointer("a" * 64, 12)
    assert parse_pointer(head + b"ext-0-foo sha256:" + b"b" * 64 + b"\n" + rest) == Pointer("a" * 64, 12)
    for wrong in (rest, head + rest + b"more\n", head + rest.replace(b"a", b"A"), head + rest.replace(b"12", b"-1")):
        assert parse_pointer(wrong) is None


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://h/a/b", "https://h/a/b.git/info/lfs"),
        ("https://h:8443/a/b.git/", "https://h:8443/a/b.git/info/lfs"),
        ("git@h:a/b.git", "https://h/a/b.git/info/lfs"),
        ("ssh://git@h:2222/a/b.git", "https://h/a/b.git/info/lfs"),
    ],
)
def test_the_lfs_server_of_a_repository_lies_below_it(url: str, server: str) -> None:
    assert lfs_url(url) == server


def test_what_a_lfs_server_answers_is_checked() -> None:
    for wrong in (b"", b"[]", b'{"objects": [{"oid": 1}]}', b'{"objects": null}'):
        with pytest.raises(SourceError):
            parse_batch(wrong)
    for wrong_url in ("file:///etc/passwd", "ftp://h/x", "http://", "http://h:99999/", "x"):
        with pytest.raises(SourceRefused):
            web_url(wrong_url)
    assert web_url("https://u:p@h:8443/a?signed=1#x") == "https://h:8443/a"

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.errors import RegistryError
from lumper.model.images.image import is_repository
from lumper.web.oci.address import Address, Kind, parse_address

PART = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
AWKWARD = st.sampled_from(["manifests", "blobs", "uploads", "tags", "list", "referrers", "token"])
NAME = st.lists(PART | AWKWARD, min_size=1, max_size=5).map("/".join)
DIGEST = "sha256:" + "a" * 64


def code(path: str) -> str:
    with pytest.raises(RegistryError) as caught:
        parse_address(path)
    return caught.value.code


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v2", Kind.PING), ("/v2/", Kind.PING), ("/v2/token", Kind.TOKEN), ("/v2/_catalog", Kind.CATALOG)],
)
def test_paths_without_a_repository_are_read(path: str, kind: Kind) -> None:
    assert parse_address(path) == Address(kind)


@given(NAME)
def test_every_legal_name_is_read_back_from_every_path(name: str) -> None:
    assert is_repository(name)
    assert parse_address(f"/v2/{name}/tags/list") == Address(Kind.TAGS, name)
    assert parse_address(f"/v2/{name}/blobs/uploads/") == Address(Kind.UPLOADS, name)
    assert parse_address(f"/v2/{name}/blobs/uploads") == Address(Kind.UPLOADS, name)
    assert parse_address(f"/v2/{name}/blobs/uploads/u-1") == Address(Kind.UPLOAD, name, "u-1")
    assert parse_address(f"/v2/{name}/blobs/{DIGEST}") == Address(Kind.BLOB, name, DIGEST)
    assert parse_address(f"/v2/{name}/manifests/latest") == Address(Kind.MANIFEST, name, "latest")
    assert parse_address(f"/v2/{name}/manifests/{quote(DIGEST, safe='')}") == Address(Kind.MANIFEST, name, DIGEST)
    assert parse_address(f"/v2/{name}/referrers/{DIGEST}") == Address(Kind.REFERRERS, name, DIGEST)


@given(st.text(max_size=60))
def test_whatever_comes_is_an_address_with_a_legal_name_or_an_error_of_the_registry(text: str) -> None:
    for path in (f"/v2/{text}", f"/v2/{quote(text, safe='', errors='replace')}/manifests/x", f"/v2/{text}/blobs/x"):
        try:
            address = parse_address(path)
        except RegistryError as exc:
            assert exc.code in ("NOT_FOUND", "NAME_INVALID", "DIGEST_INVALID")
        else:
            assert address.repository == "" or is_repository(address.repository)


@pytest.mark.parametrize("name", ["A", "a//b", "../a", "%2e%2e", "a%2F..%2Fb", "a%00", "%ff", "", "a" * 256, "a_-b"])
def test_an_illegal_name_is_refused(name: str) -> None:
    assert code(f"/v2/{name}/manifests/x") == "NAME_INVALID"


def test_an_item_that_is_no_text_is_not_looked_for() -> None:
    assert code("/v2/a/manifests/%ff") == "NAME_INVALID"


def test_a_slash_that_is_encoded_makes_no_other_path() -> None:
    assert parse_address("/v2/a%2Fb/manifests/x") == Address(Kind.MANIFEST, "a/b", "x")
    assert parse_address("/v2/a/manifests/x%2Fblobs%2Fy") == Address(Kind.MANIFEST, "a", "x/blobs/y")


def test_a_digest_with_slashes_is_told_as_such() -> None:
    assert code("/v2/a/blobs/sha256:../../x") == "DIGEST_INVALID"


@pytest.mark.parametrize("path", ["/v2/a", "/v2/a/b/c", "/v2//", "/v2/tags"])
def test_an_unknown_path_is_not_found(path: str) -> None:
    assert code(path) == "NOT_FOUND"

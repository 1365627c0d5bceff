"""Keys in a bucket, and what is read back from them."""

from __future__ import annotations

import pytest

from lumper.errors import StorageError
from lumper.registry.storage.s3 import keys

DIGEST = "sha256:" + "0f" * 32


def test_an_empty_object_tells_whose_bytes_a_blob_has() -> None:
    key = keys.elsewhere(DIGEST, 73_400_320, "5f0c-1b")

    assert key == f"blobs/sha256/{'0f' * 32}/73400320-5f0c-1b"
    assert keys.place(key, 0) == keys.ParsedKey("data/5f0c-1b", 73_400_320, key)


def test_a_small_blob_is_its_object() -> None:
    assert keys.place(keys.whole(DIGEST), 7) == keys.ParsedKey(f"blobs/sha256/{'0f' * 32}/whole", 7)


def test_what_does_not_belong_there_is_no_blob() -> None:
    assert keys.place(f"{keys.blob(DIGEST)}/.keep", 0) is None


def test_two_states_of_the_same_size_have_different_keys() -> None:
    one, other = keys.state("u", 5), keys.state("u", 5)

    assert one != other
    assert keys.state_size(one) == keys.state_size(other) == 5
    assert keys.state("u", 10) > keys.state("u", 9)


def test_a_digest_is_read_back_from_the_key_that_announces_it() -> None:
    assert keys.committed(keys.commit("u", DIGEST)) == DIGEST
    assert keys.committed(keys.state("u", 5)) is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a" * 129])
def test_what_names_no_upload_is_refused(name: str) -> None:
    with pytest.raises(StorageError):
        keys.upload(name)


@pytest.mark.parametrize("digest", ["", "sha256:0f", "../x", "md5:" + "0f" * 16])
def test_what_is_no_digest_has_no_folder(digest: str) -> None:
    for make in (keys.blob, keys.whole, keys.damaged):
        with pytest.raises(StorageError):
            make(digest)


def test_whose_a_key_is_can_be_read_from_it() -> None:
    small, large = keys.ParsedKey(keys.whole(DIGEST), 7), keys.place(keys.elsewhere(DIGEST, 9, "u"), 0)
    assert large is not None
    assert [keys.digest_of(place.named) for place in (small, large)] == [DIGEST, DIGEST]
    assert keys.damaged_digest(keys.damaged(DIGEST)) == DIGEST
    assert [keys.upload_of(key) for key in (keys.data("u"), keys.state("u", 5))] == ["u", "u"]


def test_a_key_that_somebody_else_has_put_there_is_nobody_s() -> None:
    assert [keys.digest_of(key) for key in ("blobs/x", "blobs/sha256/0f/whole", "blobs/sha256/")] == ["", "", ""]
    assert keys.damaged_digest("damaged/x") == ""
    assert keys.upload_of("data") == ""

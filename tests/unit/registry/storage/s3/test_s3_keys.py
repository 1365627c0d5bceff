"""Keys in a bucket, and what is read back from them."""

from __future__ import annotations

import pytest

from lumper.errors import StorageError
from lumper.registry.storage.s3 import keys

DIGEST = "sha256:" + "0f" * 32


def test_an_empty_object_tells_whose_bytes_a_blob_has() -> None:
    key = keys.elsewhere(DIGEST, 73_400_320, "5f0c-1b")

    assert key == f"blobs/sha256/{'0f' * 32}/73400320-5f0c-1b"
    assert keys.place(key, 0) == keys.Place("data/5f0c-1b", 73_400_320, key)


def test_a_small_blob_is_its_object() -> None:
    assert keys.place(keys.whole(DIGEST), 7) == keys.Place(f"blobs/sha256/{'0f' * 32}/whole", 7)


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

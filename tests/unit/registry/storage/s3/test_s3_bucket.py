"""Which bucket a URL names, and where its service is."""

from __future__ import annotations

import pytest

from lumper.errors import Invalid
from lumper.registry.storage.s3 import Bucket, Credentials

KEY = Credentials("id", "secret", "eu-1")


@pytest.mark.parametrize(
    ("url", "name", "prefix"),
    [
        ("s3://images", "images", ""),
        ("s3://images/", "images", ""),
        ("s3://my.images/lumper/one", "my.images", "lumper/one"),
    ],
)
def test_a_url_names_bucket_and_prefix(url: str, name: str, prefix: str) -> None:
    assert Bucket.at(url, "http://s3:9000/", KEY) == Bucket("http://s3:9000", name, prefix, KEY)


@pytest.mark.parametrize("url", ["s3://", "s3://a", "s3://Images", "s3://images/../x", "s3://images/a b", "s3:images"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        Bucket.at(url, "", KEY)


def test_without_an_endpoint_the_service_is_that_of_the_region() -> None:
    assert Bucket.at("s3://images", "", KEY).endpoint == "https://s3.eu-1.amazonaws.com"

"""Signatures, against the examples that AWS publishes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from lumper.registry.storage.s3.signature import Credentials, query_string, signed

AWS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ({"lifecycle": ""}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ({"prefix": "J", "max-keys": "2"}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_the_examples_of_the_s3_api_reference_are_signed_as_there(query: dict[str, str], signature: str) -> None:
    now = datetime(2013, 5, 24, tzinfo=UTC)
    empty = hashlib.sha256(b"").hexdigest()

    headers = signed(AWS, "GET", "examplebucket.s3.amazonaws.com", "/", query_string(query), empty, now)

    assert headers["authorization"].endswith(f"Signature={signature}")


def test_an_id_with_slashes_and_blanks_is_escaped_whole() -> None:
    assert query_string({"uploadId": "2~a/b c+d=", "partNumber": "1"}) == "partNumber=1&uploadId=2~a%2Fb%20c%2Bd%3D"


def test_the_secret_is_not_shown() -> None:
    assert AWS.secret_access_key not in repr(AWS)

"""Credentials that `docker login` has left."""

from __future__ import annotations

import base64
import json

import pytest

from lumper.errors import Invalid
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.docker_config import credentials_for

AUTH = base64.b64encode(b"me:secret:with colon").decode()
ME = Credentials("me", "secret:with colon")


@pytest.mark.parametrize(
    ("auths", "host", "found"),
    [
        ({"r.example": {"auth": AUTH}}, "r.example", ME),
        ({"https://r.example/v2/": {"auth": AUTH}}, "r.example", ME),
        ({"r.example:5000": {"auth": AUTH}}, "r.example:5000", ME),
        ({"r.example": {"auth": AUTH}}, "r.example:5000", None),
        ({"https://index.docker.io/v1/": {"auth": AUTH}}, "registry-1.docker.io", ME),
        ({"r.example": {"identitytoken": "t"}}, "r.example", Credentials(identity_token="t")),
        ({"evil.r.example": {"auth": AUTH}}, "r.example", None),
        ({}, "r.example", None),
    ],
)
def test_credentials_are_found_by_their_host_and_port(
    auths: dict[str, object], host: str, found: Credentials | None
) -> None:
    assert credentials_for(host, json.dumps({"auths": auths})) == found


@pytest.mark.parametrize(
    "document", [{"auths": {"r.example": {}}, "credsStore": "pass"}, {"credHelpers": {"r.example": "ecr-login"}}]
)
def test_a_program_that_knows_the_password_is_named_and_not_run(document: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="docker-credential-") as refused:
        credentials_for("r.example", json.dumps(document))
    assert "--password-file" in refused.value.hint
    assert credentials_for("other.example", json.dumps(document)) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"auths": [1]}', '{"auths": {"r.example": {"auth": "%"}}}', "7"])
def test_what_is_no_config_is_an_error(text: str) -> None:
    with pytest.raises(Invalid, match=r"config\.json"):
        credentials_for("r.example", text)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(ME)

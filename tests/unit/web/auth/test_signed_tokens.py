from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from lumper.errors import StorageError
from lumper.system.secret_files import read_key
from lumper.web.auth.signed_tokens import Keys

HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "data" / "token.key"
    token = Keys(file).sign("registry", {"sub": "x"}, 60)

    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["token.key"]
    claims = Keys(file).verify("registry", token)
    assert claims is not None
    assert claims["sub"] == "x"


def test_another_program_with_the_key_reads_a_token_as_rfc_7519_has_it(tmp_path: Path) -> None:
    token = Keys(tmp_path / "k", clock=lambda: 1_000_000.5).sign("registry", {"sub": "ä"}, 60)

    read = jwt.decode(token, OctKey.import_key(read_key(tmp_path / "k")), algorithms=["HS256"])

    assert read.header == {"alg": "HS256", "typ": "JWT"}
    assert read.claims.pop("jti")
    assert read.claims == {"sub": "ä", "iss": "lumper", "aud": "registry", "iat": 1_000_000, "exp": 1_000_060}


def test_a_token_expires(tmp_path: Path) -> None:
    now = [1_000_000.0]
    keys = Keys(tmp_path / "k", clock=lambda: now[0])
    token = keys.sign("registry", {}, 60)

    now[0] += 59
    assert keys.verify("registry", token) is not None
    now[0] += 1
    assert keys.verify("registry", token) is None


def test_claims_cannot_overrule_who_it_is_for_and_how_long(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "k")

    token = keys.sign("session", {"aud": "registry", "exp": 1 << 40, "iss": "x"}, 60)

    assert keys.verify("registry", token) is None
    assert keys.verify("session", token) is not None


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é", "x" * 20_000, f"{HEADER}..", f"{HEADER}.e30.é", "e30.e30.e30"]
)
def test_what_is_not_a_token_is_none(tmp_path: Path, token: str) -> None:
    assert Keys(tmp_path / "k").verify("registry", token) is None


def test_a_token_that_is_too_long_is_none_however_well_it_is_signed(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "k")

    assert keys.verify("registry", keys.sign("registry", {"sub": "x" * 12_000}, 60)) is not None
    assert keys.verify("registry", keys.sign("registry", {"sub": "x" * 12_300}, 60)) is None


def test_a_changed_token_is_none(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "k")
    token = keys.sign("registry", {"role": "deployer"}, 60)

    for position in range(0, len(token), 7):
        other = "A" if token[position] != "A" else "B"
        changed = token[:position] + other + token[position + 1 :]
        assert keys.verify("registry", changed) is None


def test_a_key_file_that_holds_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("no key")

    with pytest.raises(StorageError, match="cannot be used"):
        Keys(tmp_path / "k")


GOOD = {"iss": "lumper", "aud": "registry", "iat": 1_000_000, "exp": 1_000_060}


@pytest.mark.parametrize(
    ("header", "changed", "good"),
    [
        ({"alg": "HS256", "typ": "JWT"}, {}, True),
        ({"typ": "JWT", "alg": "HS256"}, {}, False),
        ({"alg": "HS256", "typ": "JWT", "kid": "x"}, {}, False),
        ({"alg": "HS256"}, {}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"iss": "other"}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"aud": ["registry"]}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"aud": "session"}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"exp": "1000060"}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"exp": 1_000_060.5}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"exp": None}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"iat": None}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"iat": True}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"iat": 1_000_015}, True),
        ({"alg": "HS256", "typ": "JWT"}, {"iat": 1_000_016}, False),
        ({"alg": "HS256", "typ": "JWT"}, {"exp": 1_000_010}, False),
    ],
)
def test_a_token_of_our_key_is_looked_at_all_the_same(
    tmp_path: Path, header: dict[str, str], changed: dict[str, object], good: bool
) -> None:
    keys = Keys(tmp_path / "k", clock=lambda: 1_000_010.0)
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, {**GOOD, **changed})]
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(bytes(read_key(tmp_path / "k")), message, "sha256")
    token = b".".join((message, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()

    assert (keys.verify("registry", token) is not None) is good

from __future__ import annotations

from pathlib import Path

import pytest

from lumper.errors import StorageError
from lumper.web.tokens import Keys


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "data" / "token.key"
    token = Keys(file).sign("registry", {"sub": "x"}, 60)

    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["token.key"]
    claims = Keys(file).verify("registry", token)
    assert claims is not None
    assert claims["sub"] == "x"


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


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é", "x" * 20_000, "eyJhbGciOiJFUzI1NiJ9..", "e30.e30.e30"])
def test_what_is_not_a_token_is_none(tmp_path: Path, token: str) -> None:
    assert Keys(tmp_path / "k").verify("registry", token) is None


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

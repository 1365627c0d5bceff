from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lumper.model.builds.secrets import as_kept, key_problem, may_have


@pytest.mark.parametrize(
    ("ref", "branches", "may"),
    [
        ("refs/tags/v1", (), True),
        ("refs/tags/anything/else", (), True),
        ("refs/heads/main", (), False),
        ("refs/heads/main", ("main",), True),
        ("refs/heads/main-2", ("main",), False),
        ("refs/heads/release/1", ("release/**", "!release/2"), True),
        ("refs/heads/release/2", ("release/**", "!release/2"), False),
        ("refs/heads/tags/v1", (), False),
        ("refs/pull/1/head", ("**",), False),
        ("refs/merge-requests/1/head", ("**",), False),
        ("", ("**",), False),
    ],
)
def test_tags_have_secrets_and_branches_those_that_name_them_and_nothing_else_has_any(
    ref: str, branches: tuple[str, ...], may: bool
) -> None:
    assert may_have(ref, branches) is may


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"token\n", b"token"),
        (b"token\r\n", b"token"),
        (b"token", b"token"),
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"\n", b""),
        (b" token \n", b" token "),
    ],
)
def test_a_single_line_loses_its_end(given: bytes, kept: bytes) -> None:
    assert as_kept(given) == kept


@pytest.mark.parametrize("form", [(), ("-m", "PEM"), ("-m", "PKCS8")])
@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize(("passphrase", "problem"), [("", ""), ("correct horse", "has a passphrase")])
def test_a_key_that_an_agent_takes_is_told_from_one_with_a_passphrase(
    tmp_path: Path, form: tuple[str, ...], kind: str, passphrase: str, problem: str
) -> None:
    command = ["ssh-keygen", "-q", "-t", kind, *form, "-N", passphrase, "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True, timeout=60)
    key = (tmp_path / "key").read_bytes()
    assert key_problem(key) == problem
    assert key_problem(key.replace(b"\n", b"\r\n")) == problem


@pytest.mark.parametrize("key", [b"", b"token", b"ssh-ed25519 AAAA ann@laptop", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_private_key_is_told(key: bytes) -> None:
    assert key_problem(key) == "is no private key"

from __future__ import annotations

import pytest

from lumper.model.secrets import as_kept, may_have


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

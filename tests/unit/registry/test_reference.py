"""Names of images in our own registry: what is none is told with what to write instead."""

from __future__ import annotations

import pytest

from lumper.errors import Invalid
from lumper.registry.reference import parse_reference


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("127.0.0.1:5000/team/app:1.0", "Leave out the registry's host: team/app:1.0."),
        ("https://registry.example.org/team/app", "Leave out the registry's host: team/app."),
        ("registry.example.org/team/app:", "Leave out the registry's host: team/app:."),
        (
            "team/app@sha256:4a5b",
            "Write all 64 digits of the digest: `lumper image inspect REPOSITORY:TAG` shows them.",
        ),
        ("Team/App", "Write REPOSITORY:TAG or REPOSITORY@sha256:…."),
        ("", "Write REPOSITORY:TAG or REPOSITORY@sha256:…."),
    ],
)
def test_what_names_no_image_is_told_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_reference(text)
    assert refused.value.hint == hint


@pytest.mark.parametrize("text", ["team/app", "team/app:1.0", f"team/app@sha256:{'ab' * 32}"])
def test_a_name_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_reference(text)) == text

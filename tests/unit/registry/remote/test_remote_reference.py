"""What people may write for an image at a registry."""

from __future__ import annotations

import pytest

from lumper.errors import Invalid
from lumper.registry.remote.reference import Reference, parse_reference

DIGEST = "sha256:" + "a" * 64
HUB = "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ghcr.io/owner/app:1.0", Reference("https://ghcr.io", "owner/app", "1.0")),
        ("docker://ghcr.io/owner/app:1.0", Reference("https://ghcr.io", "owner/app", "1.0")),
        ("http://localhost:5000/app", Reference("http://localhost:5000", "app", "latest")),
        ("https://old/app:1", Reference("https://old", "app", "1")),
        ("localhost:5000/app:1", Reference("https://localhost:5000", "app", "1")),
        ("owner/app:1", Reference("", "owner/app", "1")),
        ("app", Reference("", "app", "latest")),
        ("docker://alpine", Reference(HUB, "library/alpine", "latest")),
        ("docker.io/alpine:3", Reference(HUB, "library/alpine", "3")),
        ("docker.io/owner/app:3", Reference(HUB, "owner/app", "3")),
        (f"ghcr.io/owner/app@{DIGEST}", Reference("https://ghcr.io", "owner/app", digest=DIGEST)),
        (f"ghcr.io/owner/app:1@{DIGEST}", Reference("https://ghcr.io", "owner/app", digest=DIGEST)),
    ],
)
def test_a_reference_is_read(text: str, meant: Reference) -> None:
    assert parse_reference(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        "A:1",
        "a:1@",
        f"a@{DIGEST[:-1]}",
        "a:b:c",
        "../a:1",
        "a/../b",
        "-a",
        "ghcr.io/",
        "http:///a:1",
        "a b",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="does not name"):
        parse_reference(text)


@pytest.mark.parametrize("text", ["ghcr.io/owner/app:1.0", "owner/app:1", f"ghcr.io/owner/app@{DIGEST}"])
def test_a_reference_is_shown_as_it_was_written(text: str) -> None:
    assert str(parse_reference(text)) == text

"""Answers that refuse."""

from __future__ import annotations

from lumper.errors import RegistryError
from lumper.web.oci.answers import error_answer


def test_the_status_line_of_a_failure_says_why_in_one_line_that_is_not_too_long() -> None:
    failed = error_answer(RegistryError("UNAVAILABLE", "no café\r\nX: y" + "z" * 400, retry_after=0.2))
    refused = error_answer(RegistryError("DENIED", "no"))

    assert failed.reason == "no caf???X: y" + "z" * 287
    assert refused.reason == "Forbidden"
    assert failed.headers["Retry-After"] == "1"
    assert "Retry-After" not in refused.headers

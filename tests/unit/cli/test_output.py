"""Times as commands tell them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumper.cli.output import ago, until


@pytest.mark.parametrize(
    ("seconds", "told"), [(90 * 86400 + 60, "in 90 d"), (7260, "in 2 h"), (-130, "2 min ago"), (-7200, "2 h ago")]
)
def test_the_end_of_a_token_is_told_by_how_far_it_is(seconds: float, told: str) -> None:
    assert until((datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()) == told


def test_what_never_ends_or_never_was_is_not_told() -> None:
    assert (until(None), ago(None), ago("")) == ("", "", "")
    assert ago((datetime.now(UTC) - timedelta(days=3)).isoformat()) == "3 d ago"

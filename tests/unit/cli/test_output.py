"""Times as commands tell them, and outputs that take nothing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, run

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


def test_an_output_that_takes_nothing_is_told_in_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        ran = run([sys.executable, "-m", "lumper", "config"], stdout=full, stderr=PIPE, text=True, check=False)
    assert ran.stderr == (
        "lumper: What was to be printed could not be written: No space left on device.\n"
        "        Make room where it goes, or send it elsewhere.\n"
    )
    assert ran.returncode == 1


def test_an_output_that_was_closed_is_no_trouble() -> None:
    ran = run(["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "lumper", "config"], stderr=PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")

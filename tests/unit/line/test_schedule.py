"""When a line of cron is due: in UTC, or by the clocks of a zone, which go forward and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lumper.line.schedule import next_time, schedule_problem


def due(line: str, after: str, count: int) -> list[str]:
    """The next times, as month-day hour:minute in UTC."""
    at, found = datetime.fromisoformat(after).replace(tzinfo=UTC), []
    for _ in range(count):
        at = next_time(line, at)
        assert at.tzinfo is UTC
        found.append(f"{at:%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("line", "after", "times"),
    [
        ("0 3 * * *", "2026-03-28T12:00", ["03-29 03:00", "03-30 03:00"]),
        ("TZ=Europe/Berlin 0 3 * * *", "2026-03-27T12:00", ["03-28 02:00", "03-29 01:00", "03-30 01:00"]),
        ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00", ["03-29 01:00", "03-30 00:30"]),  # 2:30 is left out
        ("TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30"]),  # 2:30 comes twice
        ("TZ=America/New_York 0 0 1 * *", "2026-01-15T00:00", ["02-01 05:00", "03-01 05:00", "04-01 04:00"]),
        ("TZ=Asia/Kolkata */30 9 * * 1", "2026-11-27T00:00", ["11-30 03:30", "11-30 04:00", "12-07 03:30"]),
    ],
)
def test_a_line_is_due_by_the_clocks_of_its_zone(line: str, after: str, times: list[str]) -> None:
    assert schedule_problem(line) == ""
    assert due(line, after, len(times)) == times


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("TZ=Europe/Atlantis 0 3 * * *", "time zone"),
        ("TZ=../../etc/passwd 0 3 * * *", "cron"),
        ("TZ=/etc/localtime 0 3 * * *", "time zone"),
        ("TZ=Europe/Berlin", "cron"),
        ("TZ=Europe/Berlin 0 3 * *", "cron"),
        ("0 3 30 2 *", "cron"),
    ],
)
def test_a_line_that_is_none_is_told(line: str, words: str) -> None:
    assert words in schedule_problem(line)


def test_no_line_is_no_problem() -> None:
    assert schedule_problem("") == ""

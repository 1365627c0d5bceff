"""Times in templates of image tags: what moment.js documents for each of its tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from lumper.build.recipe.tag_times import moment_text, parse_time

FRIDAY = datetime(2020, 1, 10, 15, 25, 50, 123456, tzinfo=UTC)
MIDNIGHT = datetime(2021, 1, 3, 0, 5, 9, tzinfo=ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("template", "friday", "midnight"),
    [
        ("Y YYYY YY GGGG GG", "2020 2020 20 2020 20", "2021 2021 21 2020 20"),
        ("Q Qo M Mo MM MMM MMMM", "1 1st 1 1st 01 Jan January", "1 1st 1 1st 01 Jan January"),
        ("D Do DD DDD DDDo DDDD", "10 10th 10 10 10th 010", "3 3rd 03 3 3rd 003"),
        ("d do dd ddd dddd e E", "5 5th Fr Fri Friday 5 5", "0 0th Su Sun Sunday 0 7"),
        ("W Wo WW", "2 2nd 02", "53 53rd 53"),
        ("H HH h hh k kk A a", "15 15 3 03 15 15 PM pm", "0 00 12 12 24 24 AM am"),
        ("m mm s ss", "25 25 50 50", "5 05 9 09"),
        ("S SS SSS SSSSSSSSS", "1 12 123 123456000", "0 00 000 000000000"),
        ("Z ZZ z", "+00:00 +0000 UTC", "-05:00 -0500 EST"),
        ("X x", "1578669950 1578669950123", "1609650309 1609650309000"),
        ("YYYY-MM-DD[T]HH:mm:ss.SSS[Z]", "2020-01-10T15:25:50.123Z", "2021-01-03T00:05:09.000Z"),
        ("[year] YYYY, Hmm", "year 2020, 1525", "year 2021, 005"),
    ],
)
def test_a_time_is_written_as_moment_does(template: str, friday: str, midnight: str) -> None:
    assert moment_text(template, FRIDAY) == friday
    assert moment_text(template, MIDNIGHT) == midnight


def test_the_time_of_a_commit_that_nobody_knows_is_now() -> None:
    time = parse_time("commit_date 'YYYY'")
    assert time is not None
    assert time.at(FRIDAY, None) == "2020"
    assert time.at(FRIDAY, MIDNIGHT) == "2021"

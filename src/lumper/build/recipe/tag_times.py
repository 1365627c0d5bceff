"""`{{date 'YYYYMMDD' tz='Asia/Tokyo'}}` and `{{commit_date …}}` in templates of image tags. Pure.

The format is that of moment.js (https://momentjs.com/docs/#/displaying/format/), as docker/metadata-action takes it, in
English and without what depends on a locale; one with a `%` in it is that of strftime.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EXPRESSION = re.compile(
    r"(?P<kind>date|commit_date)\s+(?P<quote>['\"])(?P<format>(?:(?!(?P=quote)).)*)(?P=quote)"
    r"(?:\s+tz=(?P<mark>['\"])(?P<zone>[A-Za-z0-9_+/-]{1,64})(?P=mark))?"
)
STRFTIME = "YymdHMSjGVu%"  # what strftime may be asked for: numbers only, the same everywhere
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _offset(when: datetime, colon: str) -> str:
    minutes = round((when.utcoffset() or timedelta()).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"


def _fraction(digits: int) -> Callable[[datetime], str]:
    return lambda when: f"{when.microsecond:06}000"[:digits]


def _weekday(when: datetime) -> int:
    """From Sunday, which is 0."""
    return when.isoweekday() % 7


_TOKENS: Mapping[str, Callable[[datetime], str]] = {
    "YYYY": lambda when: f"{when.year:04}",
    "YY": lambda when: f"{when.year % 100:02}",
    "Y": lambda when: f"{when.year}",
    "GGGG": lambda when: f"{when.isocalendar().year:04}",
    "GG": lambda when: f"{when.isocalendar().year % 100:02}",
    "Qo": lambda when: _ordinal((when.month + 2) // 3),
    "Q": lambda when: f"{(when.month + 2) // 3}",
    "MMMM": lambda when: _MONTHS[when.month - 1],
    "MMM": lambda when: _MONTHS[when.month - 1][:3],
    "MM": lambda when: f"{when.month:02}",
    "Mo": lambda when: _ordinal(when.month),
    "M": lambda when: f"{when.month}",
    "WW": lambda when: f"{when.isocalendar().week:02}",
    "Wo": lambda when: _ordinal(when.isocalendar().week),
    "W": lambda when: f"{when.isocalendar().week}",
    "DDDD": lambda when: f"{when.timetuple().tm_yday:03}",
    "DDDo": lambda when: _ordinal(when.timetuple().tm_yday),
    "DDD": lambda when: f"{when.timetuple().tm_yday}",
    "DD": lambda when: f"{when.day:02}",
    "Do": lambda when: _ordinal(when.day),
    "D": lambda when: f"{when.day}",
    "dddd": lambda when: _DAYS[_weekday(when)],
    "ddd": lambda when: _DAYS[_weekday(when)][:3],
    "dd": lambda when: _DAYS[_weekday(when)][:2],
    "do": lambda when: _ordinal(_weekday(when)),
    "d": lambda when: f"{_weekday(when)}",
    "e": lambda when: f"{_weekday(when)}",
    "E": lambda when: f"{when.isoweekday()}",
    "A": lambda when: "AM" if when.hour < 12 else "PM",
    "a": lambda when: "am" if when.hour < 12 else "pm",
    "HH": lambda when: f"{when.hour:02}",
    "H": lambda when: f"{when.hour}",
    "hh": lambda when: f"{(when.hour - 1) % 12 + 1:02}",
    "h": lambda when: f"{(when.hour - 1) % 12 + 1}",
    "kk": lambda when: f"{when.hour or 24:02}",
    "k": lambda when: f"{when.hour or 24}",
    "mm": lambda when: f"{when.minute:02}",
    "m": lambda when: f"{when.minute}",
    "ss": lambda when: f"{when.second:02}",
    "s": lambda when: f"{when.second}",
    **{"S" * digits: _fraction(digits) for digits in range(1, 10)},
    "ZZ": lambda when: _offset(when, ""),
    "Z": lambda when: _offset(when, ":"),
    "zz": lambda when: when.tzname() or "",
    "z": lambda when: when.tzname() or "",
    "X": lambda when: f"{int(when.timestamp())}",
    "x": lambda when: f"{int(when.timestamp() * 1000)}",
}
_PIECE = re.compile(r"\[([^\[\]]*)\]|(" + "|".join(sorted(_TOKENS, key=len, reverse=True)) + r")|(.)", re.DOTALL)


@dataclass(frozen=True)
class Time:
    """One expression: whether it tells the time of the commit, the format, and the zone that it is told in."""

    of_commit: bool
    format: str
    zone: str

    def at(self, now: datetime, committed: datetime | None) -> str:
        """What it stands for."""
        when = (committed if self.of_commit else None) or now
        when = when.astimezone(ZoneInfo(self.zone) if self.zone else UTC)
        return when.strftime(self.format) if "%" in self.format else moment_text(self.format, when)

    @property
    def problem(self) -> str:
        """What is wrong with it, or ""."""
        if "%" in self.format and (words := strftime_problem(self.format)):
            return words
        try:
            ZoneInfo(self.zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return f"there is no time zone {self.zone!r}; write one such as 'Europe/Berlin'"
        return "" if self.format else "it names no format, such as 'YYYYMMDD'"


def parse_time(field: str) -> Time | None:
    """What stands between `{{` and `}}`, if it tells a time."""
    found = _EXPRESSION.fullmatch(field)
    return Time(found["kind"] == "commit_date", found["format"], found["zone"] or "") if found else None


def moment_text(template: str, when: datetime) -> str:
    """A time as moment.js writes it.

    >>> moment_text("dddd, MMMM Do YYYY, h:mm:ss a [UTC]", datetime(2020, 1, 10, 15, 25, 50, tzinfo=UTC))
    'Friday, January 10th 2020, 3:25:50 pm UTC'
    """

    def piece(found: re.Match[str]) -> str:
        literal, token, other = found.groups()
        return _TOKENS[token](when) if token else other or literal or ""

    return _PIECE.sub(piece, template)


def strftime_problem(pattern: str) -> str:
    """What is wrong with a time as strftime tells it, or ""."""
    asked = re.findall(r"%(.?)", pattern, re.DOTALL)
    if not pattern or any(each not in tuple(STRFTIME) for each in asked):
        return "write a time as strftime does, of " + " ".join(f"%{each}" for each in STRFTIME)
    return ""

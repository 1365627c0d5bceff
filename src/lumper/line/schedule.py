"""Lines of cron(5): when a project is to be built. In UTC, or by the clocks of the zone that stands before: TZ=ZONE.

Where clocks are put forward, what is due in the hour that is left out comes right behind it; where they are put back,
what is due at a time of day comes once. Source: Debian's cron(8), "Daylight Saving Time", which cronsim follows.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_ZONED = re.compile(r"(?:CRON_)?TZ=(?P<zone>[A-Za-z0-9_+/-]{1,64})\s+(?P<line>.*)")


def next_time(line: str, after: datetime) -> datetime:
    """The first time after `after`, in UTC. The line must be one without a `schedule_problem`."""
    from cronsim import CronSim

    zone, plain = _parts(line)
    return next(CronSim(plain, after.astimezone(zone))).astimezone(UTC)


def schedule_problem(line: str) -> str:
    """What is wrong with a line of cron, or ""."""
    from cronsim import CronSimError

    if not line:
        return ""
    try:
        next_time(line, datetime(2026, 1, 1, tzinfo=UTC))
    except (ZoneInfoNotFoundError, ValueError):
        return f"{line!r} names a time zone that this machine does not know; write TZ=Europe/Berlin 0 3 * * *"
    except (CronSimError, StopIteration) as exc:
        return f"{line!r} is not a line of cron: {exc or 'it is never due'}; write 0 3 * * *"
    return ""


def _parts(line: str) -> tuple[ZoneInfo, str]:
    """The zone, and the line of cron itself. Raises ZoneInfoNotFoundError, ValueError."""
    match = _ZONED.fullmatch(line.strip())
    return (ZoneInfo(match["zone"]), match["line"]) if match else (ZoneInfo("UTC"), line)

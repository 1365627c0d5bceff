"""Lines of cron(5): when a project is to be built. All times are UTC."""

from __future__ import annotations

from datetime import datetime


def next_time(line: str, after: datetime) -> datetime:
    """The first time after `after`. The line must be one without a `schedule_problem`."""
    from cronsim import CronSim

    return next(CronSim(line, after))


def schedule_problem(line: str) -> str:
    """What is wrong with a line of cron, or ""."""
    from cronsim import CronSimError

    if not line:
        return ""
    try:
        next_time(line, datetime(2026, 1, 1).astimezone())
    except (CronSimError, StopIteration) as exc:
        return f"{line!r} is not a line of cron: {exc or 'it is never due'}; write 0 3 * * *"
    return ""

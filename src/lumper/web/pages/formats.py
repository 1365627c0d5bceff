"""How values are written for people: pure functions that the templates use as filters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from lumper.model.builds.build import Build, BuildState
from lumper.model.deployment import Port, Rollout, RolloutState

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_AGES = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (60 * 86400, 86400, "days"))
_STAGES = ("checkout", "build", "push")
_SPREAD = "spread"  # to other registries: of few builds


def size(count: int) -> str:
    """Bytes in the unit that fits.

    >>> size(5 * 1024 * 1024 + 300_000)
    '5.3 MiB'
    """
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def took(seconds: float | None) -> str:
    """A duration as short as it can be said.

    >>> [took(0.041), took(9.26), took(75), took(7384), took(None)]
    ['41 ms', '9.3 s', '1 min 15 s', '2 h 03 min', '']
    """
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def ago(then: datetime, now: datetime) -> str:
    """How long ago something was; the page's script goes on counting with the same words."""
    seconds = (now - then).total_seconds()
    if seconds < 5:
        return "just now"
    for limit, unit, name in _AGES:
        if seconds < limit:
            return f"{seconds // unit:.0f} {name} ago"
    return then.strftime("%Y-%m-%d")


def moment(then: datetime) -> str:
    """A time in full, for titles."""
    return then.strftime("%Y-%m-%d %H:%M:%S UTC")


def short(text: str, length: int = 12) -> str:
    """A digest or commit as people compare it: its first characters, without the algorithm."""
    return text.rpartition(":")[2][:length]


def shown_port(port: Port) -> str:
    """A published port as `docker ps` shows it."""
    address = f"[{port.address}]" if ":" in port.address else port.address
    outside = f"{address}:{port.host} → " if port.host else ""
    return f"{outside}{port.container}/{port.protocol}"


def marked(text: str) -> Markup:
    """A sentence for people in which `words in backticks` are code; everything else of it is only text.

    >>> str(marked("See `<b>`."))
    'See <code>&lt;b&gt;</code>.'
    """
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # one backtick too many: they mean nothing then
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


_ENDED_BY_WILL = (BuildState.CANCELLED, BuildState.SKIPPED)


@dataclass(frozen=True)
class Bar:
    """One stage in the small picture of a build's time: `x` and `width` in percent."""

    name: str
    x: float
    width: float


def stage_bars(stages: dict[str, int]) -> list[Bar]:
    """The share of each stage in the time of all."""
    known = [(name, max(0, stages[name])) for name in (*_STAGES, _SPREAD) if name in stages]
    total = sum(milliseconds for _, milliseconds in known) or 1
    bars, x = [], 0.0
    for name, milliseconds in known:
        width = round(100 * milliseconds / total, 2)
        bars.append(Bar(name, round(x, 2), width))
        x += width
    return bars


@dataclass(frozen=True)
class Station:
    """A station on a build's way. `state` is done, active, waiting, failed or cancelled; `since` makes it count up."""

    name: str
    state: str
    text: str = ""
    since: datetime | None = None


def stations(build: Build, rollout: Rollout | None) -> list[Station]:
    """The way of a build from the tag to the containers, as far as it has come."""
    line = [Station("tag", "done", build.created_at.strftime("%H:%M:%S")), _queue(build)]
    line += [_stage(build, name) for name in (*_STAGES, _SPREAD) if name != _SPREAD or name in build.stages]
    if build.state is BuildState.RUNNING and not build.stages:  # the stages are known at the end only
        line[2:] = [Station("build", "active", since=build.started_at)]
    if build.state is BuildState.SUCCEEDED:
        line.append(Station("image", "done", ", ".join(build.tags)))
    elif not build.state.final:
        line.append(Station("image", "waiting"))
    if rollout is not None:
        line.append(_rollout(rollout))
    return line


def _queue(build: Build) -> Station:
    if build.state is BuildState.QUEUED:
        return Station("queue", "active", since=build.created_at)
    if build.started_at is None:
        return Station("queue", "cancelled" if build.state in _ENDED_BY_WILL else "failed")
    waited = (build.started_at - build.created_at).total_seconds()
    return Station("queue", "done", took(waited) if build.attempt == 1 else "")


def _stage(build: Build, name: str) -> Station:
    text = took(build.stages[name] / 1000) if name in build.stages else ""
    if name == _stopped_at(build):
        return Station(name, "cancelled" if build.state in _ENDED_BY_WILL else "failed", text)
    return Station(name, "done" if text else "waiting", text)


def _stopped_at(build: Build) -> str:
    """The stage that a build did not get beyond: the last one that was measured, however that ended."""
    if build.state is BuildState.SUCCEEDED or not build.state.final or build.started_at is None:
        return ""
    begun = [name for name in (*_STAGES, _SPREAD) if name in build.stages]
    if build.state is BuildState.SKIPPED and begun:  # it was not to be built, which its commit told
        return _STAGES[1]
    return begun[-1] if begun else _STAGES[0]


def _rollout(rollout: Rollout) -> Station:
    states = {RolloutState.QUEUED: "waiting", RolloutState.RUNNING: "active", RolloutState.SUCCEEDED: "done"}
    text = f"{rollout.service} #{rollout.generation}"
    if rollout.finished_at:
        text += f", {took((rollout.finished_at - rollout.created_at).total_seconds())}"
    since = rollout.created_at if rollout.state is RolloutState.RUNNING else None
    return Station("rollout", states.get(rollout.state, "failed"), text, since)

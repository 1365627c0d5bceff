"""The stations of the line with their milliseconds, printed as they happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from lumper.cli.client import Client
from lumper.cli.output import plain
from lumper.errors import LumperError
from lumper.model.builds.build import Output, Progress, Step, StepState
from lumper.model.builds.log import from_line

Found = TypeVar("Found")

_PATIENCE = 120.0  # seconds for any one station


class Stopwatch:
    """Prints lines with the milliseconds since a tag was pushed."""

    def __init__(self, begun: float) -> None:
        self._begun = begun

    def show(self, station: str, text: str, at: float | None = None) -> None:
        """One line; `at` is seconds since the epoch, now by default."""
        milliseconds = round(((at or time.time()) - self._begun) * 1000)
        print(f"{milliseconds:>7} ms  {station:<9} {plain(text)}", flush=True)


def watch_build(client: Client, tag: str, clock: Stopwatch) -> dict[str, Any]:
    """Follow the build of a tag to its end; the build."""
    build = _await(lambda: next((b for b in client.get("builds", limit=5) if b["tag"] == tag), None), f"build of {tag}")
    for _, line in client.follow_log(build["id"]):
        _show(from_line(line), clock)
    ended: dict[str, Any] = client.get(f"builds/{build['id']}")
    stages = ", ".join(f"{name} {took} ms" for name, took in ended["stages"].items())
    if ended["state"] == "succeeded":
        clock.show("registry", f"{ended['image']} {', '.join(ended['tags'])} → {ended['digest']}")
        clock.show("build", f"build {ended['id']} succeeded ({stages})")
    else:
        clock.show("build", f"build {ended['id']} {ended['state']}: {ended['error']}")
    return ended


def watch_rollout(client: Client, build_id: int, clock: Stopwatch) -> dict[str, Any]:
    """Follow the rollout that a build caused to its end; the rollout."""
    shown = 0
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        rollout: dict[str, Any] | None = client.get(f"builds/{build_id}")["rollout"]
        lines = rollout["journal"] if rollout else []
        for line in lines[shown:]:
            clock.show("deploy", line)
        shown = len(lines)
        if rollout and rollout["state"] in ("succeeded", "failed"):
            clock.show("deploy", f"rollout {rollout['state']} {rollout['error']}".strip())
            return rollout
        time.sleep(0.02)
    raise LumperError(f"The rollout of build {build_id} did not end within {_PATIENCE:g} s.")


def watch_mail(read: Callable[[], list[str]], wanted: str, clock: Stopwatch) -> str:
    """Wait for the mail whose subject has `wanted` in it; the subject."""
    subject = _await(lambda: next((line for line in read() if wanted in line), None), f"mail about {wanted}")
    clock.show("mail", subject)
    return subject


def _show(record: Progress, clock: Stopwatch) -> None:
    station = "checkout" if record.number == 0 else "push" if record.number > 1000 else "build"
    if isinstance(record, Output):
        clock.show(station, f"  {record.text}", record.at)
    elif isinstance(record, Step) and record.state is not StepState.RUNNING:
        state = "" if record.state is StepState.DONE else f"{record.state.value.upper()} "
        clock.show(station, f"{state}{record.name}{': ' + record.error if record.error else ''}", record.at)


def _await(look: Callable[[], Found | None], what: str) -> Found:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise LumperError(f"The {what} did not come within {_PATIENCE:g} s.")

"""What Lumper logs, as lines for people and as JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from lumper.logs import get_logger, set_up

log = get_logger("lumper.some.where")


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The loggers are put back afterwards."""
    ours, root = logging.getLogger("lumper"), logging.getLogger()
    before = (ours.handlers, ours.level, ours.propagate, root.handlers[:])
    yield
    ours.handlers, level, ours.propagate, root.handlers[:] = before
    ours.setLevel(level)


def test_a_line_has_its_time_level_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "console")
    log.warning("a thing waits", action="thing.wait", count=3, names=["a", "b"])
    time, _, rest = capsys.readouterr().err.partition(" ")
    assert time.endswith("Z") and "T" in time
    assert rest.split() == [
        "[warning",
        "]",
        "a",
        "thing",
        "waits",
        "action=thing.wait",
        "count=3",
        "names=['a',",
        "'b']",
    ]


def test_what_a_field_holds_stays_on_its_line_and_cannot_feign_another_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up("info", "console")
    log.info("said", error="one\n2026-01-01T00:00:00Z [info] feigned action=x", other="\x1b[2J", empty="")
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert r"error='one\n2026-01-01T00:00:00Z [info] feigned action=x'" in text
    assert "\x1b" not in text
    assert text.endswith("empty=''\n")


def test_a_json_line_has_the_fields_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("debug", "json")
    log.debug("a thing was done", action="thing.done", freed=12, to=("a", "b"), where=io)
    told = json.loads(capsys.readouterr().err)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "a thing was done",
        "level": "debug",
        "action": "thing.done",
        "freed": 12,
        "to": ["a", "b"],
        "where": repr(io),
    }


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_has_its_traceback_and_no_local_variables(capsys: pytest.CaptureFixture[str], form: str) -> None:
    set_up("info", form)
    secret = "local" + "-secret"
    try:
        raise ValueError(len(secret))
    except ValueError as exc:
        log.exception("it failed", action="one")
        log.error("it failed", action="two", exc_info=exc)
    log.warning("it was expected", exc_info=None)
    text = capsys.readouterr().err
    assert text.count("ValueError: 12") == 2
    assert "local-secret" not in text
    if form == "json":
        told = [json.loads(line) for line in text.splitlines()]
        assert ["exception" in line for line in told] == [True, True, False]


def test_what_is_below_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning", "console")
    log.info("unwanted")
    log.warning("wanted")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["wanted"]

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumper.model.builds.build import Build, BuildState
from lumper.model.deployment import Port, Rollout, RolloutState
from lumper.web.pages.formats import ago, marked, shown_port, size, stage_bars, stations, took

NOW = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)


def a_build(state: BuildState, *, started: bool = True, stages: dict[str, int] | None = None) -> Build:
    return Build(
        id=7,
        project="acme/shop",
        ref="refs/tags/v1.0.0",
        commit="0" * 40,
        image="acme/shop",
        state=state,
        attempt=1,
        created_at=NOW,
        started_at=NOW + timedelta(seconds=0.25) if started else None,
        finished_at=NOW + timedelta(seconds=9) if state.final else None,
        stages=stages or {},
        tags=("1.0.0", "latest") if state is BuildState.SUCCEEDED else (),
    )


def way(build: Build, rollout: Rollout | None = None) -> dict[str, str]:
    return {station.name: station.state for station in stations(build, rollout)}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 20, "1.0 MiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_have_the_unit_that_fits(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 ms"), (59.96, "60.0 s"), (60, "1 min 00 s"), (3600, "1 h 00 min")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert took(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=100), "2024-11-24"),
    ],
)
def test_ages_become_coarse_with_time(before: timedelta, text: str) -> None:
    assert ago(NOW - before, NOW) == text


def test_only_backticks_become_code_and_nothing_else_becomes_markup() -> None:
    assert marked("<i> `a<b` & `c`") == "&lt;i&gt; <code>a&lt;b</code> &amp; <code>c</code>"
    assert marked("one ` alone <b>") == "one ` alone &lt;b&gt;"


def test_an_address_of_version_6_is_in_brackets() -> None:
    assert shown_port(Port(80, 8080, "::1")) == "[::1]:8080 → 80/tcp"
    assert shown_port(Port(53, protocol="udp")) == "53/udp"


def test_the_bars_fill_the_whole_width_in_the_order_of_the_stages() -> None:
    bars = stage_bars({"push": 100, "checkout": 100, "build": 200, "unknown": 999})
    assert [(bar.name, bar.x, bar.width) for bar in bars] == [
        ("checkout", 0.0, 25.0),
        ("build", 25.0, 50.0),
        ("push", 75.0, 25.0),
    ]
    assert stage_bars({"build": 0})[0].width == 0


def test_a_build_that_waits_has_reached_the_queue() -> None:
    build = a_build(BuildState.QUEUED, started=False)
    assert way(build) == {
        "tag": "done",
        "queue": "active",
        "checkout": "waiting",
        "build": "waiting",
        "push": "waiting",
        "image": "waiting",
    }


def test_a_running_build_is_at_the_build() -> None:
    build = a_build(BuildState.RUNNING)
    assert way(build) == {"tag": "done", "queue": "done", "build": "active", "image": "waiting"}


def test_a_failed_build_failed_at_the_last_stage_that_was_begun() -> None:
    assert way(a_build(BuildState.FAILED, stages={"checkout": 5, "build": 7})) == {
        "tag": "done",
        "queue": "done",
        "checkout": "done",
        "build": "failed",
        "push": "waiting",
    }
    assert way(a_build(BuildState.FAILED, stages={"checkout": 5}))["checkout"] == "failed"
    assert way(a_build(BuildState.FAILED))["checkout"] == "failed"
    spread = way(a_build(BuildState.FAILED, stages={"checkout": 5, "build": 7, "push": 1, "spread": 2}))
    assert list(spread.items())[-2:] == [("push", "done"), ("spread", "failed")]
    assert way(a_build(BuildState.CANCELLED, stages={"checkout": 5, "build": 7}))["build"] == "cancelled"
    skipped = way(a_build(BuildState.SKIPPED, stages={"checkout": 5}))
    assert (skipped["checkout"], skipped["build"]) == ("done", "cancelled")
    assert way(a_build(BuildState.CANCELLED))["checkout"] == "cancelled"
    assert way(a_build(BuildState.FAILED, started=False))["queue"] == "failed"
    assert way(a_build(BuildState.FAILED, started=False))["checkout"] == "waiting"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (RolloutState.QUEUED, "waiting"),
        (RolloutState.RUNNING, "active"),
        (RolloutState.SUCCEEDED, "done"),
        (RolloutState.FAILED, "failed"),
    ],
)
def test_the_way_of_a_build_ends_with_its_rollout(state: RolloutState, shown: str) -> None:
    build = a_build(BuildState.SUCCEEDED, stages={"checkout": 1, "build": 2, "push": 3})
    rollout = Rollout(1, "shop", "sha256:0", 3, "v1.0.0", state, NOW)
    assert way(build, rollout) | {"rollout": shown} == way(build, rollout)
    assert list(way(build, rollout)) == ["tag", "queue", "checkout", "build", "push", "image", "rollout"]

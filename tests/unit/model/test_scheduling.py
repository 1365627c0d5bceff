"""Who builds next, where, and why the others wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lumper.model.builds.scheduling import AFFINITY, OVERTAKERS, PATIENCE, Capacity, Given, Share, Waiting, plan
from lumper.model.trigger import Trigger

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROJECT = some.sampled_from("abc")
ONE = [Capacity("w1", 1)]


def build(number: int, project: str = "a", waited: float = 1.0, trigger: Trigger = Trigger.PUSH) -> Waiting:
    return Waiting(number, project, NOW - timedelta(seconds=waited), trigger)


def order(waiting: list[Waiting], shares: dict[str, Share], overtaken: int = 0) -> list[int]:
    """All builds in the order of their turns, when none can begin but for want of a place."""
    return [wait.build for wait in plan(NOW, waiting, shares, [Capacity("w1", 0)], overtaken).waits]


def reason(share: Share, workers: list[Capacity], waited: float = 1.0) -> str:
    [wait] = plan(NOW, [build(1, waited=waited)], {"a": share}, workers).waits
    return wait.reason


def test_a_single_build_begins_at_once() -> None:
    found = plan(NOW, [build(1)], {"a": Share()}, ONE)
    assert (found.given, found.waits) == ((Given(1, "w1"),), ())


def test_projects_take_turns_whoever_came_first() -> None:
    waiting = [build(1), build(2), build(3), build(4, "b", waited=0)]
    assert order(waiting, {"a": Share(used=10), "b": Share()}) == [4, 1, 2, 3]


def test_what_somebody_asked_for_goes_before_pushes_and_those_before_schedules() -> None:
    waiting = [
        build(1, trigger=Trigger.SCHEDULE, waited=9),
        build(2, trigger=Trigger.PUSH, waited=5),
        build(3, "b", trigger=Trigger.MANUAL),
        build(4, "b", trigger=Trigger.MISSED, waited=4),
    ]
    assert order(waiting, {"a": Share(), "b": Share(used=1000)}) == [3, 2, 4, 1]


def test_a_higher_priority_goes_first() -> None:
    waiting = [build(1, trigger=Trigger.MANUAL), build(2, "b", trigger=Trigger.SCHEDULE)]
    assert order(waiting, {"a": Share(), "b": Share(priority=1, used=9999)}) == [2, 1]


def test_a_place_is_not_left_empty_because_the_first_in_line_may_not_take_it() -> None:
    waiting = [build(1), build(2, "b")]
    found = plan(NOW, waiting, {"a": Share(most=1, running=1, priority=5), "b": Share()}, ONE)
    assert found.given == (Given(2, "w1"),)
    assert [(wait.build, wait.position) for wait in found.waits] == [(1, 1)]
    assert "1 of 1" in found.waits[0].reason


def test_every_reason_is_told() -> None:
    assert reason(Share(), []) == "no worker is online"
    assert "labels arm64, big" in reason(Share(labels=frozenset({"big", "arm64"})), ONE)
    assert "busy" in reason(Share(), [Capacity("w1", 0)])
    assert reason(Share(), ONE, waited=-60) == "tried again at 03:05:05 UTC"
    both = [Capacity("w1", 0), Capacity("w2", 1)]
    assert "moment for w1" in reason(Share(last_worker="w1"), both, waited=AFFINITY - 0.1)


def test_the_worker_with_the_cache_gets_the_build_but_is_not_waited_for_long() -> None:
    def worker(free: int, waited: float = 0.0) -> str:
        share = {"a": Share(last_worker="w1")}
        workers = [Capacity("w1", free), Capacity("w2", 9)]
        return next((one.worker for one in plan(NOW, [build(1, waited=waited)], share, workers).given), "")

    assert worker(free=1) == "w1"
    assert worker(free=0) == ""
    assert worker(free=0, waited=AFFINITY) == "w2"


def test_only_a_worker_with_all_labels_takes_a_build() -> None:
    workers = [Capacity("w1", 9, frozenset({"arm64"})), Capacity("w2", 1, frozenset({"arm64", "big"}))]
    share = {"a": Share(labels=frozenset({"arm64", "big"}))}
    assert plan(NOW, [build(1), build(2)], share, workers).given == (Given(1, "w2"),)


def test_a_patient_build_is_passed_by_so_many_younger_ones_and_no_more() -> None:
    waiting = [build(1, waited=PATIENCE), build(2, "b", waited=0)]
    shares = {"a": Share(priority=-100), "b": Share(priority=100)}
    assert plan(NOW, waiting, shares, ONE, OVERTAKERS - 1).given == (Given(2, "w1"),)
    assert plan(NOW, waiting, shares, ONE, OVERTAKERS).given == (Given(1, "w1"),)


def simulate(shares: dict[str, Share], starts: int, seconds: float = 30.0) -> list[tuple[str, int]]:
    """Projects that always have a build waiting, one place, builds of the same length: who began, in order."""
    clock, number, began, overtaken = NOW, 0, [], 0
    line = {}
    for project in shares:
        number += 1
        line[project] = Waiting(number, project, clock, Trigger.PUSH)
    for _ in range(starts):
        [one] = plan(clock, list(line.values()), shares, ONE, overtaken).given
        project = next(name for name, build in line.items() if build.id == one.build)
        oldest = min(line.values(), key=lambda build: (build.due, build.id))
        overtaken = overtaken + 1 if line[project].due > oldest.due else 0
        began.append((project, one.build))
        clock += timedelta(seconds=seconds)
        number += 1
        line[project] = Waiting(number, project, clock, Trigger.PUSH)
        shares = shares | {project: replace(shares[project], used=shares[project].used + seconds)}
    return began


@given(some.lists(some.integers(1, 5), min_size=2, max_size=4))
def test_workers_are_busy_for_projects_in_proportion_to_their_weights(weights: list[int]) -> None:
    shares = {f"p{n}": Share(weight=weight) for n, weight in enumerate(weights)}
    starts = 12 * sum(weights)
    count = Counter(project for project, _ in simulate(shares, starts, seconds=1.0))
    for n, weight in enumerate(weights):
        assert count[f"p{n}"] == pytest.approx(12 * weight, abs=2)


@given(some.lists(some.tuples(some.integers(1, 50), some.integers(-3, 3)), min_size=2, max_size=5))
def test_nobody_waits_for_ever_whatever_the_priorities(settings: list[tuple[int, int]]) -> None:
    shares = {f"p{n}": Share(weight=weight, priority=priority) for n, (weight, priority) in enumerate(settings)}
    began = [project for project, _ in simulate(shares, 100)]
    longest = PATIENCE / 30 + (OVERTAKERS + 1) * (len(settings) + 1)
    for project in shares:
        turns = [-1, *(n for n, name in enumerate(began) if name == project), len(began)]
        assert max(b - a for a, b in pairwise(turns)) <= longest


@given(
    some.lists(some.tuples(PROJECT, some.sampled_from(list(Trigger)), some.integers(0, 2000)), max_size=12),
    some.dictionaries(PROJECT, some.builds(Share, most=some.integers(0, 2), running=some.integers(0, 2))),
    some.lists(some.integers(0, 3), max_size=3),
    some.integers(0, 9),
)
def test_each_build_is_given_or_waits_and_no_limit_is_passed(
    listed: list[tuple[str, Trigger, int]], given_shares: dict[str, Share], free: list[int], overtaken: int
) -> None:
    shares = {name: given_shares.get(name, Share()) for name in "abc"}
    waiting = [build(n, project, waited, trigger) for n, (project, trigger, waited) in enumerate(listed)]
    workers = [Capacity(f"w{n}", places) for n, places in enumerate(free)]
    found = plan(NOW, waiting, shares, workers, overtaken)
    assert sorted([one.build for one in found.given] + [wait.build for wait in found.waits]) == list(range(len(listed)))
    assert [wait.position for wait in found.waits] == list(range(1, len(found.waits) + 1))
    projects = dict(enumerate(project for project, _, _ in listed))
    for name, share in shares.items():
        begun = sum(projects[one.build] == name for one in found.given)
        assert not share.most or not begun or share.running + begun <= share.most
    for worker in workers:
        assert sum(one.worker == worker.name for one in found.given) <= worker.free
    if any(not share.most for share in shares.values()):
        left = sum(free) - len(found.given)
        unlimited = [wait for wait in found.waits if not shares[projects[wait.build]].most]
        assert not left or not unlimited


def test_what_is_built_once_more_goes_to_another_worker_if_there_is_one() -> None:
    again = replace(build(1, trigger=Trigger.VERIFY), avoid="w1")
    share = {"a": Share(last_worker="w1")}
    two = [Capacity("w1", 5), Capacity("w2", 1)]
    assert plan(NOW, [again], share, two).given == (Given(1, "w2"),)
    assert plan(NOW, [again], share, [Capacity("w1", 5), Capacity("w2", 0)]).given == ()
    assert plan(NOW, [again], share, [Capacity("w1", 1)]).given == (Given(1, "w1"),)


def test_what_only_verifies_lets_pushes_go_first() -> None:
    waiting = [build(1, waited=9, trigger=Trigger.VERIFY), build(2)]
    assert order(waiting, {"a": Share()}) == [2, 1]

"""Waves, budgets, approvals and going back, decided from states alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from lumper.deploy.targets import Act, Outcome, Phase, TargetState, begun, ended
from lumper.deploy.waves import (
    End,
    Ending,
    Move,
    OnFailure,
    Step,
    Wait,
    Wave,
    WavePlan,
    next_moves,
    waves_of,
)
from lumper.errors import Invalid

START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("a", "b", "c", "d")


@dataclass
class Run:
    """A rollout whose steps end at once. `answers` says how a step ends; DONE is the default."""

    plan: WavePlan
    answers: dict[tuple[Act, str], Outcome] = field(default_factory=dict)
    states: dict[str, TargetState] = field(default_factory=dict)
    now: datetime = START
    done: list[Step] = field(default_factory=list)

    def moves(self) -> tuple[Move, ...]:
        return next_moves(self.plan, self.states, self.now)

    def play(self, until: Callable[[], bool] = lambda: False) -> End | Wait:
        """Do what is to be done, over times that come by themselves; the last move."""
        while True:
            moves = self.moves()
            last = moves[0]
            if isinstance(last, End) or (isinstance(last, Wait) and (last.until is None or until())):
                return last
            if isinstance(last, Wait):
                assert last.until is not None
                assert last.until > self.now
                self.now = last.until
            for move in moves:
                if isinstance(move, Step):
                    self.do(move)

    def do(self, step: Step) -> None:
        outcome = self.answers.get((step.act, step.host), Outcome.DONE)
        before = self.states.get(step.host, TargetState())
        self.states[step.host] = ended(begun(before, step.act, self.now), step.act, outcome, self.now, "words")
        self.done.append(step)

    def hosts(self, act: Act) -> list[str]:
        return [step.host for step in self.done if step.act is act]

    def phases(self) -> dict[str, Phase]:
        return {host: self.states.get(host, TargetState()).phase for host in self.plan.hosts}


def waves(*groups: Iterable[str], parallel: int = 1, soak: timedelta = timedelta()) -> tuple[Wave, ...]:
    return tuple(Wave(tuple(group), parallel, soak) for group in groups)


def failing(*hosts: str, act: Act = Act.VERIFY) -> dict[tuple[Act, str], Outcome]:
    return {(act, host): Outcome.FAILED for host in hosts}


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        (["1"], [1] * 8),
        (["1", "25%"], [1, 2, 2, 2, 1]),
        (["1", "100%"], [1, 7]),
        (["10%", "50%"], [1, 4, 3]),
        ([], [8]),
        (["20"], [8]),
    ],
)
def test_waves_have_the_sizes_asked_for_and_the_last_one_repeats(sizes: list[str], lengths: list[int]) -> None:
    made = waves_of("abcdefgh", sizes, parallel=3)
    assert [len(wave.targets) for wave in made] == lengths
    assert "".join(host for wave in made for host in wave.targets) == "abcdefgh"


@pytest.mark.parametrize("size", ["0", "-1", "0%", "many", "", "1.5", "²"])
def test_senseless_wave_sizes_are_refused(size: str) -> None:
    with pytest.raises(Invalid):
        waves_of("abc", [size])


@pytest.mark.parametrize(
    "make",
    [
        lambda: WavePlan(waves("ab", "b")),
        lambda: WavePlan(waves("a"), parallel=0),
        lambda: Wave(()),
        lambda: Wave(("a",), parallel=0),
    ],
)
def test_plans_that_cannot_move_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(Invalid):
        make()


def test_good_release_reaches_every_host_in_the_order_of_the_waves() -> None:
    run = Run(WavePlan(waves("a", "bc", "d")))
    assert run.play() == End(Ending.SUCCEEDED)
    assert run.hosts(Act.APPLY) == ["a", "b", "c", "d"]
    acts = [step.act for step in run.done]
    assert acts.index(Act.APPLY) > max(i for i, act in enumerate(acts) if act is Act.PREPARE)
    assert acts.index(Act.FINISH) > max(i for i, act in enumerate(acts) if act is Act.VERIFY)
    assert set(run.phases().values()) == {Phase.FINISHED}


def test_at_most_the_bound_is_prepared_and_applied_at_once() -> None:
    run = Run(WavePlan(waves(HOSTS, parallel=2), parallel=3))
    assert run.moves() == tuple(Step(Act.PREPARE, host) for host in "abc")
    run.states = {host: TargetState(Phase.PREPARED) for host in HOSTS}
    assert run.moves() == (Step(Act.APPLY, "a"), Step(Act.APPLY, "b"))
    run.states["a"] = begun(run.states["a"], Act.APPLY, run.now)
    assert run.moves() == (Step(Act.APPLY, "b"),)


def test_a_refused_image_ends_the_rollout_with_nothing_touched() -> None:
    run = Run(WavePlan(waves("ab", "cd"), max_failures=3), failing("d", act=Act.PREPARE))
    assert run.play() == End(Ending.CANCELLED, ("d",))
    assert run.hosts(Act.APPLY) == []


def test_a_bad_canary_goes_back_and_nothing_else_is_touched() -> None:
    run = Run(WavePlan(waves("a", "bcd")), failing("a"))
    assert run.play() == End(Ending.REVERTED, ("a",))
    assert run.hosts(Act.APPLY) == run.hosts(Act.REVERT) == ["a"]


def test_broken_rollout_goes_back_in_reverse_order() -> None:
    run = Run(WavePlan(waves("ab", "cd")), failing("d"))
    assert run.play() == End(Ending.REVERTED, ("d",))
    assert run.hosts(Act.REVERT) == ["d", "c", "b", "a"]
    assert run.hosts(Act.FINISH) == []


def test_failures_within_the_budget_go_back_alone() -> None:
    run = Run(WavePlan(waves("ab", "cd"), max_failures=1), failing("b"))
    assert run.play() == End(Ending.SUCCEEDED, ("b",))
    assert run.hosts(Act.REVERT) == ["b"]
    assert run.hosts(Act.FINISH) == ["a", "c", "d"]


def test_a_release_that_is_good_nowhere_has_not_succeeded_whatever_the_budget() -> None:
    run = Run(WavePlan(waves("ab"), max_failures=5), failing("a", "b"))
    assert run.play() == End(Ending.REVERTED, ("a", "b"))


def test_a_wave_soaks_and_is_verified_again_before_the_next() -> None:
    run = Run(WavePlan(waves("a", "b", soak=timedelta(minutes=5))))
    assert run.play(until=lambda: True) == Wait(START + timedelta(minutes=5), "A wave soaks.")
    assert run.hosts(Act.APPLY) == ["a"]
    run.answers = failing("a")
    assert run.play() == End(Ending.REVERTED, ("a",))
    assert run.hosts(Act.APPLY) == ["a"]


def test_a_wave_waits_for_its_approval() -> None:
    plan = WavePlan((Wave(("a",)), Wave(("b",), approve=True)))
    run = Run(plan)
    assert run.play() == Wait(None, "A wave waits for approval.")
    assert run.hosts(Act.APPLY) == ["a"]
    run.plan = replace(plan, approved=frozenset({1}))
    assert run.play() == End(Ending.SUCCEEDED)


def test_a_person_may_refuse_the_approval_and_revert() -> None:
    plan = WavePlan((Wave(("a",)), Wave(("b",), approve=True)))
    run = Run(plan)
    run.play()
    run.plan = replace(plan, revert=True)
    assert run.play() == End(Ending.REVERTED)
    assert run.phases() == {"a": Phase.REVERTED, "b": Phase.PREPARED}


def away(*hosts: str, act: Act = Act.PREPARE) -> dict[tuple[Act, str], Outcome]:
    return {(act, host): Outcome.UNREACHABLE for host in hosts}


def test_an_unreachable_host_over_the_budget_holds_everything_before_the_first_apply() -> None:
    run = Run(WavePlan(waves("ab")), away("b"))
    run.play(until=lambda: run.now > START + timedelta(minutes=5))
    assert run.hosts(Act.APPLY) == []
    run.answers = {}
    assert run.play() == End(Ending.SUCCEEDED)


@pytest.mark.parametrize("act", [Act.PREPARE, Act.APPLY, Act.VERIFY])
def test_an_unreachable_host_within_its_budget_holds_up_nobody_and_catches_up(act: Act) -> None:
    run = Run(WavePlan(waves("ab", "cd"), max_unreachable=1), away("a", act=act))
    run.play(until=lambda: run.now > START + timedelta(minutes=5))
    assert [run.phases()[host] for host in "bcd"] == [Phase.VERIFIED] * 3
    assert run.hosts(Act.FINISH) == []  # it may still fail on the host that is away
    run.answers = {}
    assert run.play() == End(Ending.SUCCEEDED)


def test_a_host_that_is_cut_off_while_it_goes_back_is_waited_for_and_holds_up_nobody() -> None:
    run = Run(WavePlan(waves("a", "bc")), failing("c") | away("b", act=Act.REVERT))
    run.play(until=lambda: run.now > START + timedelta(minutes=5))
    assert run.phases() == {"a": Phase.REVERTED, "b": Phase.REVERTING, "c": Phase.REVERTED}
    run.answers = {}
    assert run.play() == End(Ending.REVERTED, ("c",))


def test_retries_of_an_unreachable_host_become_rarer_up_to_a_minute() -> None:
    state, now, pauses = TargetState(), START, []
    for _ in range(9):
        state = ended(begun(state, Act.PREPARE, now), Act.PREPARE, Outcome.UNREACHABLE, now)
        assert state.retry_at is not None
        pauses.append((state.retry_at - now).total_seconds())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("on_failure", "back"), [("pause", ["d"]), ("revert_wave", ["d", "c"])])
def test_a_broken_rollout_that_does_not_go_back_waits_for_a_person(on_failure: OnFailure, back: list[str]) -> None:
    plan = WavePlan(waves("ab", "cd", "e"), on_failure=on_failure)
    run = Run(plan, failing("d"))
    last = run.play()
    assert isinstance(last, Wait)
    assert "Too many hosts failed" in last.reason
    assert run.hosts(Act.REVERT) == back
    again = Run(plan, states=dict(run.states))
    again.plan = replace(plan, max_failures=1)
    assert again.play() == End(Ending.SUCCEEDED, ("d",))
    assert [h for h, p in again.phases().items() if p is Phase.FINISHED] == ["a", "b", "c", "e"]
    run.plan = replace(plan, revert=True)
    assert run.play() == End(Ending.REVERTED, ("d",))


def test_a_roll_back_is_never_rolled_back_by_itself() -> None:
    plan = WavePlan(waves("ab"), rollback=True)
    run = Run(plan, failing("b"))
    assert isinstance(run.play(), Wait)
    assert run.hosts(Act.REVERT) == []
    run.plan = replace(plan, max_failures=1)
    assert run.play() == End(Ending.SUCCEEDED, ("b",))


def test_a_host_that_cannot_go_back_is_told_and_left_to_a_person() -> None:
    run = Run(WavePlan(waves("ab")), failing("b") | failing("b", act=Act.REVERT))
    assert run.play() == End(Ending.STUCK, ("b",))
    assert run.phases() == {"a": Phase.REVERTED, "b": Phase.STUCK}
    assert run.states["b"].error == "words"


def test_nothing_goes_back_once_old_releases_are_retired() -> None:
    plan = WavePlan(waves("ab"))
    run = Run(replace(plan, revert=True))
    run.states = {"a": TargetState(Phase.FINISHED), "b": TargetState(Phase.FINISHING)}
    assert run.play() == End(Ending.SUCCEEDED)


def test_trouble_with_retiring_the_old_release_does_not_fail_the_rollout() -> None:
    run = Run(WavePlan(waves("ab")), failing("a", act=Act.FINISH))
    assert run.play() == End(Ending.SUCCEEDED)
    assert run.states["a"].error == "words"

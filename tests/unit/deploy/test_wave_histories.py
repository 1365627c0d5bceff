"""Thousands of random rollouts: hosts that fail, vanish and return, and deployers that are killed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.deploy.targets import Act, Outcome, Phase, TargetState, begun, ended
from lumper.deploy.waves import End, Ending, Step, Wait, Wave, WavePlan, next_moves

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST_EVENTS = 3000


@dataclass
class World:
    """Hosts with their true release, steps that are under way, and what has been written down."""

    plan: WavePlan
    bad: frozenset[str]
    refusing: frozenset[str]
    random: Random
    trouble: int
    states: dict[str, TargetState] = field(default_factory=dict)
    under_way: list[Step] = field(default_factory=list)
    true: dict[str, str] = field(default_factory=dict)
    prepared: set[str] = field(default_factory=set)
    lost_at_apply: set[str] = field(default_factory=set)
    now: datetime = START

    def choose(self, most: int) -> int:
        return self.random.randint(0, most)

    def begin(self, step: Step) -> None:
        assert step not in self.under_way
        assert step.host not in {other.host for other in self.under_way}
        state = self.states.get(step.host, TargetState())
        if step.act is Act.APPLY:
            self.check_apply(step.host)
        if step.act is Act.REVERT:
            self.check_order(step.host)
        if step.act is Act.FINISH:
            assert all(s.phase is not Phase.WAITING or s.failed for s in self.states.values())
            assert self.true[step.host] == "new"
        self.states[step.host] = begun(state, step.act, self.now)
        self.under_way.append(step)

    def check_apply(self, host: str) -> None:
        unknown = [h for h in self.plan.hosts if h not in self.prepared]
        assert host in self.prepared
        assert all(self.states[h].away or self.states[h].failed for h in unknown), "applied before all was prepared"
        assert not any(s.phase is Phase.FINISHED for s in self.states.values())
        fresh = self.states[host].phase is not Phase.APPLYING
        assert not fresh or sum(s.away for s in self.states.values()) <= self.plan.max_unreachable

    def check_order(self, host: str) -> None:
        """A host that goes back with the others goes after all hosts of later waves, but for the unreachable ones."""
        if self.states[host].failed or self.states[host].phase is Phase.REVERTING:
            return
        number = next(n for n, wave in enumerate(self.plan.waves) if host in wave.targets)
        later = [self.states[h] for wave in self.plan.waves[number + 1 :] for h in wave.targets if h in self.states]
        assert all(s.away or not s.touched for s in later)

    def end_one(self) -> None:
        step = self.under_way.pop(self.choose(len(self.under_way) - 1))
        vanishes = self.trouble > 0 and self.choose(3) == 0
        self.trouble -= vanishes
        happened = not vanishes or self.choose(1) == 1  # whether it was done before the connection broke
        outcome = self.act(step) if happened else Outcome.UNREACHABLE
        if vanishes:
            outcome = Outcome.UNREACHABLE
            self.lost_at_apply |= {step.host}
        self.states[step.host] = ended(self.states[step.host], step.act, outcome, self.now, "words")

    def act(self, step: Step) -> Outcome:
        match step.act:
            case Act.PREPARE:
                if step.host in self.refusing:
                    return Outcome.FAILED
                self.prepared.add(step.host)
            case Act.APPLY:
                self.true[step.host] = "new"
            case Act.VERIFY:
                return Outcome.FAILED if step.host in self.bad else Outcome.DONE
            case Act.REVERT:
                self.true[step.host] = "old"
            case Act.FINISH:
                assert self.true[step.host] == "new"
        return Outcome.DONE

    def killed(self) -> None:
        """The deployer is killed and started again: it knows what was written down; steps may have been done."""
        for step in self.under_way:
            if self.choose(1):
                self.act(step)
        self.under_way.clear()
        self.states = {host: replace(state, running=False) for host, state in self.states.items()}

    def run(self) -> End | Wait:
        for _ in range(MOST_EVENTS):
            if self.trouble > 0 and self.choose(7) == 0:
                self.trouble -= 1
                self.killed()
            moves = next_moves(self.plan, self.states, self.now)
            steps = [move for move in moves if isinstance(move, Step)]
            for step in steps:
                self.begin(step)
            if self.under_way:
                self.end_one()
                continue
            (last,) = moves
            if isinstance(last, End) or (isinstance(last, Wait) and last.until is None):
                return last
            assert isinstance(last, Wait)
            assert last.until is not None
            assert last.until > self.now
            self.now = last.until
        raise AssertionError("the rollout does not end")


@st.composite
def plans(draw: st.DrawFn) -> WavePlan:
    hosts = [f"h{number}" for number in range(draw(st.integers(1, 9)))]
    waves: list[Wave] = []
    while hosts:
        count = draw(st.integers(1, len(hosts)))
        soak = timedelta(seconds=draw(st.sampled_from([0, 0, 30])))
        waves.append(Wave(tuple(hosts[:count]), draw(st.integers(1, 3)), soak))
        hosts = hosts[count:]
    return WavePlan(
        tuple(waves),
        parallel=draw(st.integers(1, 4)),
        max_failures=draw(st.integers(0, 3)),
        max_unreachable=draw(st.integers(0, 3)),
        on_failure=draw(st.sampled_from(["revert_all", "revert_wave", "pause"])),
        rollback=draw(st.sampled_from([False, False, False, True])),
    )


def some(random: Random, plan: WavePlan) -> frozenset[str]:
    return frozenset(random.sample(plan.hosts, random.randint(0, len(plan.hosts))))


SEEDS = st.integers(0, 2**32).map(Random)  # draws one by one would take ten times as long


@settings(max_examples=2500, deadline=None)
@given(SEEDS, plans(), st.integers(0, 12))
def test_every_host_ends_on_the_same_release_whatever_happens(random: Random, plan: WavePlan, trouble: int) -> None:
    refusing = some(random, plan) if random.randint(0, 4) == 0 else frozenset[str]()
    world = World(plan, some(random, plan), refusing, random, trouble)
    last = world.run()
    if isinstance(last, Wait):  # only a person can say what comes next
        assert plan.rollback or plan.on_failure != "revert_all"
        world.plan = replace(plan, revert=True)
        last = world.run()
        assert isinstance(last, End)
        assert last.ending is Ending.REVERTED
    true = {host: world.true.get(host, "old") for host in plan.hosts}
    if last.ending is not Ending.SUCCEEDED:
        assert set(true.values()) == {"old"}
        return
    assert len(last.failed) <= plan.max_failures
    assert {h for h in plan.hosts if true[h] == "new"} >= set(plan.hosts) - set(last.failed)
    if not plan.rollback:
        assert {true[h] for h in last.failed} <= {"old"}
    assert not set(plan.hosts) - set(last.failed) & world.bad


@settings(max_examples=1000, deadline=None)
@given(SEEDS, plans(), st.integers(0, 8))
def test_a_bad_release_touches_at_most_failures_and_parallel_hosts(
    random: Random, plan: WavePlan, trouble: int
) -> None:
    plan = replace(plan, waves=tuple(replace(wave, soak=timedelta()) for wave in plan.waves))
    world = World(plan, frozenset(plan.hosts), frozenset(), random, trouble)
    last = world.run()
    widest = max(wave.parallel for wave in plan.waves)
    assert len(world.true) <= plan.max_failures + widest + len(world.lost_at_apply)
    assert isinstance(last, Wait) or last.ending is Ending.REVERTED


@settings(max_examples=1000, deadline=None)
@given(SEEDS, plans(), st.integers(0, 12))
def test_a_person_may_revert_at_any_moment(random: Random, plan: WavePlan, trouble: int) -> None:
    world = World(plan, frozenset(), frozenset(), random, trouble)
    for _ in range(random.randint(0, 40)):
        steps = [move for move in next_moves(plan, world.states, world.now) if isinstance(move, Step)]
        for step in steps:
            world.begin(step)
        if world.under_way:
            world.end_one()
    committed = any(s.phase in (Phase.FINISHING, Phase.FINISHED) for s in world.states.values())
    world.plan = replace(plan, revert=True)
    last = world.run()
    assert isinstance(last, End)
    assert {world.true.get(host, "old") for host in plan.hosts} == ({"new"} if committed else {"old"})

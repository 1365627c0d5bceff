"""The plan: observed containers in, steps out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from lumper.deploy.plan import (
    Accept,
    Check,
    Prune,
    Pull,
    Remove,
    Restart,
    Slot,
    Start,
    Stop,
    plan_rollback,
    plan_rollout,
)
from lumper.errors import ReleaseRefused
from lumper.model.deployment import Container, ContainerState, Port, Release, Service

FIXED = Service("shop", ports=(Port(8080, 80),))
FREE = Service("shop", ports=(Port(8080),))
NEW_RUN = (Start(Slot.NEW), Check(Slot.NEW), Accept(Slot.NEW))
ids = itertools.count(1)


def release(generation: int, service: Service = FREE, digest: str = "") -> Release:
    return Release(service, "127.0.0.1:5080/shop", digest or f"sha256:{generation:064x}", generation)


def container(of: Release, **fields: Any) -> Container:
    ports = tuple(replace(port, host=port.host or 49152) for port in of.service.ports)
    known: dict[str, Any] = {"state": ContainerState.RUNNING, "ports": ports, **fields}
    return Container(str(next(ids)), of.service.name, of.digest, of.service.config_hash, of.generation, **known)


def trial(of: Release) -> Container:
    return container(of, final=False, accepted=False, ports=(Port(8080, 49999),))


def stopped(of: Release) -> Container:
    return container(of, state=ContainerState.EXITED)


def keep(*releases: Release) -> Prune:
    return Prune(frozenset(r.digest for r in releases))


def test_the_first_release_is_started_checked_and_accepted() -> None:
    assert plan_rollout(release(1), []).steps == (Pull(), *NEW_RUN)


@pytest.mark.parametrize("service", [FREE, Service("shop"), Service("shop", ports=(Port(8080, 81),))])
def test_without_a_port_in_common_the_old_one_serves_until_the_new_one_is_accepted(service: Service) -> None:
    one, two = release(1, FIXED), release(2, service)
    old = container(one)
    plan = plan_rollout(two, [old])
    assert plan.steps == (Pull(), *NEW_RUN, Stop(old), Remove(old), keep(one, two))
    assert plan.before is old


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_common_changes_hands_only_after_a_trial_was_healthy(address: str) -> None:
    one, two = release(1, FIXED), release(2, replace(FIXED, ports=(Port(8080, 80, address),)))
    old = container(one)
    trial_run = (Start(Slot.TRIAL), Check(Slot.TRIAL), Stop(old))
    expected = (Pull(), *trial_run, *NEW_RUN, Remove(old), Remove(Slot.TRIAL), keep(one, two))
    assert plan_rollout(two, [old]).steps == expected


def test_a_udp_port_is_not_the_tcp_port_of_the_same_number() -> None:
    udp = Service("shop", ports=(Port(53, 80, protocol="udp"),))
    assert Start(Slot.TRIAL) not in plan_rollout(release(2, udp), [container(release(1, FIXED))]).steps


def test_a_new_configuration_of_the_same_digest_is_a_new_release() -> None:
    one = release(1)
    two = release(2, replace(FREE, env={"A": "b"}), digest=one.digest)
    assert plan_rollout(two, [container(one)]).steps[:4] == (Pull(), *NEW_RUN)


def test_a_release_that_runs_already_is_only_checked() -> None:
    one = release(1)
    running = container(one)
    plan = plan_rollout(one, [running])
    assert plan.steps == (Check(running, accepted=True),)
    assert plan.running is running


def test_the_same_digest_and_configuration_in_a_later_generation_runs_already() -> None:
    running = container(release(1))
    assert plan_rollout(release(2, digest=running.digest), [running]).steps == (Check(running, accepted=True),)


def test_a_running_release_that_was_checked_in_vain_is_replaced_by_a_fresh_one() -> None:
    one = release(1, FIXED)
    broken = container(one)
    steps = plan_rollout(one, [broken], failed={broken.id}).steps
    assert steps[:4] == (Pull(), Start(Slot.TRIAL), Check(Slot.TRIAL), Stop(broken))
    assert steps[-1] == keep(one)


def test_a_stopped_release_is_started_afresh_and_then_removed() -> None:
    one = release(1, FIXED)
    old = stopped(one)
    assert plan_rollout(one, [old]).steps == (Pull(), *NEW_RUN, Remove(old), keep(one))


def test_an_old_order_does_not_undo_a_newer_release() -> None:
    with pytest.raises(ReleaseRefused, match="generation 2 comes too late"):
        plan_rollout(release(2), [container(release(3))])


def test_an_attempt_at_a_newer_release_does_not_overtake() -> None:
    half = container(release(3), accepted=False)
    assert Remove(half) in plan_rollout(release(2), [half]).steps


# What a rollout that was cut off leaves behind.


def test_a_new_container_that_was_not_checked_to_the_end_is_checked_and_completed() -> None:
    one, two = release(1, FIXED), release(2, FIXED)
    old, left, half = stopped(one), trial(two), container(two, accepted=False)
    plan = plan_rollout(two, [old, left, half])
    assert plan.steps == (Check(half), Accept(half), Remove(old), Remove(left), keep(one, two))
    assert plan.running is half


def test_a_new_container_that_ended_is_removed_and_started_anew() -> None:
    two = release(2)
    half = container(two, accepted=False, state=ContainerState.EXITED)
    assert plan_rollout(two, [half]).steps == (Pull(), Remove(half), *NEW_RUN)


def test_a_new_container_of_an_earlier_attempt_never_counts_as_the_release_before() -> None:
    half = container(release(1), accepted=False)
    assert plan_rollout(release(2), [half]).steps == (Pull(), Remove(half), *NEW_RUN)


def test_with_the_old_one_stopped_already_there_is_no_second_trial_and_the_first_is_removed_last() -> None:
    one, two = release(1, FIXED), release(2, FIXED)
    old, left = stopped(one), trial(two)
    expected = (Pull(), *NEW_RUN, Remove(old), Remove(left), keep(one, two))
    assert plan_rollout(two, [old, left]).steps == expected


def test_a_trial_left_beside_a_serving_container_is_removed_first() -> None:
    one, two = release(1, FIXED), release(2, FIXED)
    left = trial(two)
    assert plan_rollout(two, [left, container(one)]).steps[:3] == (Pull(), Remove(left), Start(Slot.TRIAL))


def test_an_accepted_release_beside_the_one_before_retires_it() -> None:
    one, two = release(1), release(2)
    old, new = container(one), container(two)
    steps = plan_rollout(two, [old, new]).steps
    assert steps == (Check(new, accepted=True), Stop(old), Remove(old), keep(one, two))


def test_beside_a_running_release_everything_else_is_removed() -> None:
    one = release(1)
    running, half, left = container(one), container(one, accepted=False), trial(one)
    assert plan_rollout(one, [half, running, left]).steps == (Check(running, accepted=True), Remove(half), Remove(left))


def test_of_two_accepted_containers_the_next_release_keeps_the_newest_that_is_up() -> None:
    old, newer = container(release(1)), container(release(2))
    plan = plan_rollout(release(3), [old, newer, stopped(release(2))])
    assert plan.before is newer
    assert plan.steps.index(Remove(old)) < plan.steps.index(Start(Slot.NEW))


# The way back.


def test_back_from_a_first_release_nothing_is_left() -> None:
    assert plan_rollback([new := container(release(1), accepted=False)]).steps == (Remove(new),)


def test_back_from_a_trial_the_serving_one_is_not_touched() -> None:
    old, left = container(release(1, FIXED)), trial(release(2, FIXED))
    plan = plan_rollback([old, left])
    assert plan.steps == (Remove(left),)
    assert plan.before is old


def test_back_from_the_port_changing_hands_the_old_one_is_started_again_before_the_trial_goes() -> None:
    old, left = stopped(release(1, FIXED)), trial(release(2, FIXED))
    new = container(release(2, FIXED), accepted=False)
    expected = (Remove(new), Restart(old), Check(old, accepted=True), Remove(left))
    assert plan_rollback([old, left, new]).steps == expected


def test_back_to_a_release_that_somebody_stopped_it_stays_stopped() -> None:
    old, new = stopped(release(1)), container(release(2), accepted=False)
    assert plan_rollback([old, new]).steps == (Remove(new),)


def test_back_from_an_accepted_release_that_broke_before_the_old_one_was_removed() -> None:
    old, broken = stopped(release(1)), container(release(2))
    steps = plan_rollback([old, broken], failed={broken.id}).steps
    assert steps == (Remove(broken), Restart(old), Check(old, accepted=True))


def test_back_to_a_release_that_was_broken_before_it_is_started_again_but_not_asked_for_its_health() -> None:
    one = release(1, FIXED)
    broken, left, new = stopped(one), trial(one), container(one, accepted=False)
    plan = plan_rollback([broken, left, new], failed={broken.id})
    assert plan.steps == (Remove(new), Restart(broken), Remove(left))


def test_the_only_accepted_container_is_kept_even_when_it_fails() -> None:
    broken, new = container(release(1)), container(release(1), accepted=False)
    plan = plan_rollback([broken, new], failed={broken.id})
    assert plan.steps == (Remove(new),)
    assert plan.before is broken

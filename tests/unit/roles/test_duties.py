"""When lost workers are looked for: never before those that live could be heard of."""

from __future__ import annotations

import pytest

from lumper.model.lease import LEASE_SECONDS
from lumper.roles.duties import when_heard

START = 1_800_000_000.0


@pytest.mark.parametrize(
    ("looks", "waited"),
    [
        ((0.0, 5.0, 10.1), [True, False, False]),  # it has just begun
        ((0.0, 5.0, 50.0, 55.0), [True, False, True, False]),  # its machine stood still, or the clock was set forward
        ((0.0, 5.0, -3600.0, -3595.0), [True, False, False, False]),  # the clock was set back: all leases are longer
    ],
)
async def test_time_to_be_heard_of_comes_before_a_look_that_follows_no_other(
    looks: tuple[float, ...], waited: list[bool]
) -> None:
    time, slept, looked = START, list[float](), 0

    async def sleep(seconds: float) -> None:
        nonlocal time
        time += seconds
        slept.append(seconds)

    async def expire() -> None:
        nonlocal looked
        looked += 1

    look = when_heard(expire, lambda: time, sleep)
    for at, waits in zip(looks, waited, strict=True):
        time, before = time + at - (looks[looked - 1] if looked else 0.0), len(slept)
        await look()
        assert slept[before:] == ([LEASE_SECONDS] if waits else [])
    assert looked == len(looks)

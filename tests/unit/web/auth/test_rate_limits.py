"""How much one client may ask: buckets that fill again, and who shares one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.errors import TooManyRequests
from lumper.web.auth.rate_limits import BURST_SECONDS, Buckets, RateLimits, network
from parts.suite.clock import Clock


def admitted(limits: RateLimits, account: str, address: str, most: int = 10_000) -> int:
    """How many requests come in before one is refused."""
    for count in range(most):
        try:
            limits.admit(account, address)
        except TooManyRequests:
            return count
    return most


def test_a_burst_comes_in_then_as_many_as_the_rate_says(clock: Clock) -> None:
    limits = RateLimits(account=5, clock=clock)
    assert admitted(limits, "user:ann", "") == 5 * BURST_SECONDS
    clock.now += 1
    assert admitted(limits, "user:ann", "") == 5
    clock.now += 3600
    assert admitted(limits, "user:ann", "") == 5 * BURST_SECONDS


def test_a_refusal_says_how_long_to_wait_and_costs_nothing(clock: Clock) -> None:
    limits = RateLimits(account=0.5, clock=clock)
    assert admitted(limits, "user:ann", "") == 5
    for _ in range(100):
        with pytest.raises(TooManyRequests) as refused:
            limits.admit("user:ann", "")
        assert refused.value.retry_after == 2
    assert refused.value.headers == {"RateLimit-Limit": "5;w=10", "RateLimit-Remaining": "0;w=10"}
    clock.now += 2
    limits.admit("user:ann", "")


def test_clients_do_not_share(clock: Clock) -> None:
    limits = RateLimits(account=1, anonymous=2, clock=clock)
    assert admitted(limits, "user:ann", "192.0.2.1") == 10
    assert admitted(limits, "user:bob", "192.0.2.1") == 10
    assert admitted(limits, "", "192.0.2.1") == 20
    assert admitted(limits, "", "192.0.2.2") == 20


def test_without_a_limit_everything_comes_in(clock: Clock) -> None:
    limits = RateLimits(anonymous=1, clock=clock)
    assert admitted(limits, "user:ann", "192.0.2.1") == 10_000
    assert admitted(limits, "", "127.0.0.1") == 10_000
    assert admitted(limits, "", "::1") == 10_000
    assert limits.pull("user:ann", "", counts=True) == {}


def test_pulls_are_counted_in_their_window_and_looking_is_free(clock: Clock) -> None:
    limits = RateLimits(pulls=3, window=60, clock=clock)
    assert limits.pull("", "192.0.2.1", counts=False) == {"RateLimit-Limit": "3;w=60", "RateLimit-Remaining": "3;w=60"}
    left = [limits.pull("", "192.0.2.1", counts=True)["RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2;w=60", "1;w=60", "0;w=60"]
    assert limits.pull("", "192.0.2.1", counts=False)["RateLimit-Remaining"] == "0;w=60"
    with pytest.raises(TooManyRequests) as refused:
        limits.pull("", "192.0.2.1", counts=True)
    assert refused.value.retry_after == 20
    clock.now += 20
    assert limits.pull("", "192.0.2.1", counts=True)["RateLimit-Remaining"] == "0;w=60"


def test_an_account_pulls_from_all_its_addresses_together_and_the_machine_itself_without_one_freely(
    clock: Clock,
) -> None:
    limits = RateLimits(pulls=1, window=60, clock=clock)
    assert limits.pull("user:ann", "127.0.0.1", counts=True)["RateLimit-Remaining"] == "0;w=60"
    for address in ("127.0.0.1", "192.0.2.1"):
        with pytest.raises(TooManyRequests):
            limits.pull("user:ann", address, counts=True)
        assert limits.pull("user:bob", address, counts=False)["RateLimit-Remaining"] == "1;w=60"
    assert limits.pull("", "127.0.0.1", counts=True) == limits.pull("", "127.0.0.1", counts=True) == {}


@pytest.mark.parametrize(
    ("address", "known_by"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:127.0.0.1", ""),
        ("127.8.9.10", ""),
        ("::1", ""),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_an_address_is_known_by_its_network(address: str, known_by: str) -> None:
    assert network(address) == known_by


def test_a_flood_of_clients_takes_no_more_memory_and_forgets_the_oldest(clock: Clock) -> None:
    buckets = Buckets(1, 1, clock)
    for number in range(20_000):
        assert buckets.take(f"client {number}") == 0
    assert len(buckets._full_at) == 16_384
    assert buckets.take("client 19999") > 0
    assert buckets.take("client 0") == 0


@given(st.lists(st.floats(0, 5), max_size=200), st.floats(0.1, 50), st.integers(1, 30))
def test_never_more_than_the_burst_and_what_the_rate_gave(pauses: list[float], rate: float, burst: int) -> None:
    clock = Clock()
    begun = clock.now
    buckets = Buckets(rate, burst, clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += buckets.take("x") == 0
        assert taken <= burst + rate * (clock.now - begun) + 1e-3
        assert 0 <= buckets.left("x") <= burst

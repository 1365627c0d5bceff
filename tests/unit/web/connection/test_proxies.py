"""Whom a request came from is told by trusted proxies only."""

from __future__ import annotations

import pytest

from lumper.web.connection.proxies import Proxies

TRUSTED = ("127.0.0.0/8", "10.1.0.0/16", "fd00::/8")


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours: whatever it says
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client made up the first one
        ("127.0.0.1", "1.1.1.1, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("127.0.0.1", "10.1.2.4,10.1.2.3", "10.1.2.4"),
        ("::ffff:127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "[2001:db8::1]", "2001:db8::1"),
        ("127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1:4711", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1,", "127.0.0.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_only_what_trusted_proxies_append_counts(remote: str, forwarded: str, client: str) -> None:
    assert Proxies(TRUSTED).client(remote, {"X-Forwarded-For": forwarded}) == client


def test_the_other_header_counts_where_the_list_is_missing() -> None:
    told = {"X-Real-IP": "198.51.100.1"}

    assert Proxies(TRUSTED).client("127.0.0.1", told) == "198.51.100.1"
    assert Proxies(TRUSTED).client("127.0.0.1", {**told, "X-Forwarded-For": "198.51.100.2"}) == "198.51.100.2"
    assert Proxies(()).client("127.0.0.1", told) == "127.0.0.1"

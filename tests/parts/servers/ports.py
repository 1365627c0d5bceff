"""Ports on loopback for the servers of the tests."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress

# Below the range from which outgoing connections take theirs. Each process of pytest-xdist has a part of its own.
_LOWEST, _HIGHEST = 20_000, 32_000
_PART = (_HIGHEST - _LOWEST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_FIRST = _LOWEST + _PART * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Of its own: hypothesis and tests that seed `random` would draw the same ports twice.
_draw = random.SystemRandom()
# A server may bind its port long after it was found free, and in between another one would find it free too.
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on, and that no other caller in this test run was given."""
    found: list[int] = []
    while len(found) < count:
        port = _FIRST + _draw.randrange(_PART)
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False

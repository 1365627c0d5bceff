"""A clock that stands."""

from __future__ import annotations

import pytest

from parts.suite.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)

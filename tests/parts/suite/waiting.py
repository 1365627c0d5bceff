"""Waiting, without an event loop, for something that other programs do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(look: Callable[[], Found | None], what: str, seconds: float = 60) -> Found:
    """What `look` returns as soon as that is true; `what` names it in the error. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"there was no {what} within {seconds:g} s")
        time.sleep(0.02)
    return found

"""Processes that have all imported when they begin: what is killed again and again is begun as often."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

_IMPORTED = ["parts.registries.crashing_push", "parts.s3.s3_crashing_push"]


def forking() -> ForkServerContext:
    """A context whose server has imported the pushes, and is there already.

    Python 3.11 does not tell it our `sys.path`, and passes over what it cannot import then.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context

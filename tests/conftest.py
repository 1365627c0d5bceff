from __future__ import annotations

import os
import sys

pytest_plugins = ["parts.rabbitmq", "parts.postgresql", "parts.engine_bench", "parts.worker_bench", "parts.spreading"]

# Where this is set, each of the hundreds of processes that tests start compiles all of Lumper, for half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

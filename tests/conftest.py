from __future__ import annotations

import os
import sys

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "parts.suite.needs",
    "parts.servers.rabbitmq",
    "parts.servers.postgresql",
    "parts.engines.engine_bench",
    "parts.line.worker_bench",
    "parts.s3.s3_service",
    "parts.suite.spreading",
    "parts.line.topics",
]

# Where this is set, each of the hundreds of processes that tests start compiles all of Lumper, for half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Its limits on the time of an example, and of making one up, go by the clock.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

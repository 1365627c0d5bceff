from __future__ import annotations

pytest_plugins = ["parts.rabbitmq", "parts.postgresql", "parts.engine_bench", "parts.worker_bench"]

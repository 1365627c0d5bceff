"""What is counted for Prometheus, under which names. Each server has one `Metrics`; nothing is global.

What happens often is counted in plain numbers, by the event loop's thread alone, and becomes metrics only when
somebody asks; the rest are the client library's own objects. Labels have few values: names of repositories come from
the largest ones only.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector, Summary
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_LABELS = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]
_BUILD_BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@dataclass
class _Row:
    counts: list[int] = field(default_factory=lambda: [0] * len(_LABELS))
    seconds: float = 0.0


class Requests(Collector):
    """Requests to the registry, and bytes of blobs in and out. To be called from the event loop only."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], _Row] = {}
        self._received = 0
        self._sent = 0

    def answered(self, handler: str, method: str, status: int, seconds: float) -> None:
        """Count a request that took `seconds`; `handler` is what its address names, such as `manifest`."""
        row = self._rows.get((handler, method, status))
        if row is None:
            row = self._rows.setdefault((handler, method if method in _METHODS else "other", status), _Row())
        row.counts[bisect_left(_BOUNDS, seconds)] += 1
        row.seconds += seconds

    def received(self, size: int) -> None:
        """Count bytes of blobs that came in."""
        self._received += size

    def sent(self, size: int) -> None:
        """Count bytes of blobs that went out."""
        self._sent += size

    def collect(self) -> Iterable[Metric]:
        """As metrics. May be called from any thread."""
        requests = CounterMetricFamily(
            "lumper_registry_requests", "Requests to the registry.", labels=["handler", "method", "status"]
        )
        durations = HistogramMetricFamily(
            "lumper_registry_request_duration_seconds", "How long they took.", labels=["handler", "method"]
        )
        sums: dict[tuple[str, str], _Row] = {}
        for (handler, method, status), row in list(self._rows.items()):
            requests.add_metric([handler, method, str(status)], sum(row.counts))
            both = sums.setdefault((handler, method), _Row())
            both.counts = [one + other for one, other in zip(both.counts, row.counts, strict=True)]
            both.seconds += row.seconds
        for (handler, method), row in sums.items():
            durations.add_metric([handler, method], _buckets(row.counts), row.seconds)
        yield requests
        yield durations
        yield CounterMetricFamily("lumper_registry_received_bytes", "Bytes of blobs that came in.", self._received)
        yield CounterMetricFamily("lumper_registry_sent_bytes", "Bytes of blobs that went out.", self._sent)


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    total = 0
    found: list[tuple[str, float]] = []
    for label, count in zip(_LABELS, counts, strict=True):
        total += count
        found.append((label, float(total)))
    return found


class Metrics:
    """Everything that one server counts; `registry` gives it out."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Requests()
        registry.register(self.requests)
        Gauge("lumper_info", "The version that runs; always 1.", ["version"], registry=registry).labels(
            version("lumper")
        ).set(1)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"lumper_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"lumper_{name}", text, labels, registry=registry)

        self.repositories = gauge("registry_repositories", "Repositories.")
        self.tags = gauge("registry_tags", "Tags, without those of builds that are not accepted yet.")
        self.manifests = gauge("registry_manifests", "Manifests.")
        self.blobs = gauge("registry_blobs", "What lies in the storage: blobs and manifests.")
        self.stored = gauge("registry_storage_bytes", "What they take together.")
        self.repository_bytes = gauge(
            "registry_repository_bytes", "What the largest repositories have; blobs of several count in each.",
            "repository",
        )  # fmt: skip
        self.uploads = gauge("registry_uploads", "Uploads that have begun and not ended.")
        self.gc_collected = counter("registry_gc_collected", "What was given up.", "kind")
        self.gc_freed = counter("registry_gc_freed_bytes", "Bytes given back to the storage.")
        self.gc_duration = Summary(
            "lumper_registry_gc_duration_seconds", "How long collections took.", registry=registry
        )
        self.gc_success = gauge("registry_gc_last_success_timestamp_seconds", "When the last collection ended well.")
        self.data_free = gauge("data_free_bytes", "Free space where the data folder lies.")
        self.data_size = gauge("data_size_bytes", "All space where the data folder lies.")
        self.queue_up = gauge("queue_up", "Whether the queue answers.")
        self.queue_messages = gauge("queue_messages", "Messages that wait.", "topic")
        self.queue_dead = gauge("queue_dead_letters", "Messages that were given up; counted to 1000.", "topic")
        self.outbox = gauge("outbox_messages", "Messages on their way to the queue.")
        self.builds = gauge("builds", "Builds that are known.", "state")
        self.builds_finished = counter("builds_finished", "Builds that ended.", "state")
        self.build_duration = Histogram(
            "lumper_build_duration_seconds", "From the start of a build to its end.", ["state"],
            buckets=_BUILD_BOUNDS, registry=registry,
        )  # fmt: skip
        self.webhook_calls = counter("webhook_calls", "Calls to webhooks, and what became of them.", "outcome")
        self.webhook_waiting = gauge("webhook_calls_waiting", "Calls to webhooks that wait.")
        self.webhook_dead = gauge("webhook_calls_dead", "Calls to webhooks that were given up.")
        self.rollouts_finished = counter("rollouts_finished", "Rollouts that ended.", "state")

    def webhook_called(self, outcome: str) -> None:
        """A webhook was called: delivered, failed or dead."""
        self.webhook_calls.labels(outcome).inc()

    def collected(self, counts: dict[str, int], freed: int, seconds: float) -> None:
        """A collection of garbage has ended well; `counts` by kind of thing."""
        for kind, count in counts.items():
            self.gc_collected.labels(kind).inc(count)
        self.gc_freed.inc(freed)
        self.gc_duration.observe(seconds)
        self.gc_success.set(time.time())

    def build_ended(self, state: str, seconds: float | None) -> None:
        """A build has ended, `seconds` after it began if it did."""
        self.builds_finished.labels(state).inc()
        if seconds is not None:
            self.build_duration.labels(state).observe(seconds)

    def rollout_ended(self, state: str) -> None:
        """A rollout has ended."""
        self.rollouts_finished.labels(state).inc()

"""What is counted of requests, and how Prometheus sees it."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lumper.metrics import Metrics


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = generate_latest(metrics.registry).decode()
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_what_they_ask_and_how_they_end() -> None:
    metrics = Metrics()
    metrics.requests.answered("manifest", "GET", 200, 0.0004)
    metrics.requests.answered("manifest", "GET", 200, 0.03)
    metrics.requests.answered("manifest", "GET", 404, 90.0)
    found = values(metrics)
    total = "lumper_registry_requests_total[('handler', 'manifest'), ('method', 'GET'), ('status', '{}')]"
    assert found[total.format(200)] == 2
    assert found[total.format(404)] == 1
    bucket = "lumper_registry_request_duration_seconds_bucket[('handler', 'manifest'), ('le', '{}'), ('method', 'GET')]"
    assert [found[bucket.format(bound)] for bound in ("0.001", "0.025", "0.05", "60", "+Inf")] == [1, 1, 2, 2, 3]
    labels = "[('handler', 'manifest'), ('method', 'GET')]"
    assert found[f"lumper_registry_request_duration_seconds_count{labels}"] == 3
    assert found[f"lumper_registry_request_duration_seconds_sum{labels}"] == 90.0304


def test_methods_that_nobody_knows_are_one_series() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.requests.answered("blob", f"X{number}", 405, 0.001)
    found = [
        (name, value) for name, value in values(metrics).items() if name.startswith("lumper_registry_requests_total")
    ]
    assert found == [
        ("lumper_registry_requests_total[('handler', 'blob'), ('method', 'other'), ('status', '405')]", 100)
    ]


def test_two_servers_in_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.requests.received(7)
    assert values(one)["lumper_registry_received_bytes_total[]"] == 7
    assert values(other)["lumper_registry_received_bytes_total[]"] == 0

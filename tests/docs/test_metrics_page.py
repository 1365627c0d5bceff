"""The page of metrics tells every metric with its type and labels, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lumper.line.figures import LARGEST
from lumper.metrics import Metrics
from lumper.model.builds.build import BuildState
from lumper.model.events import SHARED
from lumper.model.images.garbage import GarbageKind
from lumper.web.oci.address import Kind

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference/metrics.md").read_text("utf-8")
ADVICE = (DOCS / "how-to/prometheus.md").read_text("utf-8")
ROWS = {
    name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
    for name, kind, labels, meaning in re.findall(r"(?m)^\| `(lumper_\w+)` \| (\w+) \| ([^|]*)\| (.+) \|$", PAGE)
}


def told(name: str, kind: str) -> str:
    """The name as it stands in queries."""
    return f"{name}_total" if kind == "counter" else name


def test_every_metric_is_told_with_its_type_and_no_other() -> None:
    families = text_string_to_metric_families(generate_latest(Metrics().registry).decode())
    own = [each for each in families if each.name.startswith("lumper_") and not each.name.endswith("_created")]
    given = {told(each.name, each.type): each.type for each in own}
    assert given == {name: kind for name, (kind, _, _) in ROWS.items()}


def test_names_end_with_their_unit() -> None:
    for name, (kind, _, _) in ROWS.items():
        assert name.endswith("_total") == (kind == "counter"), name
        if kind in ("histogram", "summary"):
            assert name.endswith("_seconds"), name


def test_the_values_of_labels_are_told() -> None:
    handlers = ROWS["lumper_registry_requests_total"][2]
    assert all(f"`{kind.value}`" in handlers for kind in Kind)
    kinds = ROWS["lumper_registry_gc_collected_total"][2]
    assert all(f"`{kind.value}`" in kinds for kind in GarbageKind)
    assert all(f"`{topic}`" in ROWS["lumper_queue_messages"][2] for topic in SHARED)
    assert all(f"`{state.value}`" in ROWS["lumper_builds"][2] for state in BuildState)
    assert f"the {LARGEST} largest" in ROWS["lumper_registry_repository_bytes"][2]


def test_what_is_worth_an_alert_is_there() -> None:
    """An alert on a metric, or on a value of a label, that nobody gives out never fires."""
    named = set(re.findall(r"lumper_\w+", re.sub(r"```yaml\nscrape_configs(?s:.*?)```", "", ADVICE)))
    assert {name.removesuffix("_bucket") for name in named} <= set(ROWS)
    given = {("topic", topic) for topic in SHARED} | {("state", state.value) for state in BuildState}
    assert set(re.findall(r'[{,](\w+)="([^"]*)"', ADVICE)) <= given

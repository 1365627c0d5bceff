"""The page of metrics tells every metric with its type and labels, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lumper.history.figures import LARGEST
from lumper.metrics import Metrics
from lumper.model.garbage import GarbageKind
from lumper.web.oci.address import Kind

PAGE = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text("utf-8")
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
    assert f"the {LARGEST} largest" in ROWS["lumper_registry_repository_bytes"][2]

from __future__ import annotations

from pathlib import Path

from lumper.build.capabilities import CAPABILITIES
from lumper.build.port import Capability

PAGE = (Path(__file__).parents[2] / "docs/how-to/engines.md").read_text("utf-8")


def test_the_table_of_the_page_is_the_table_of_the_code() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|"]
    (_, *engines), _, *capabilities = rows

    assert engines == list(CAPABILITIES)
    assert {name: row for name, *row in capabilities} == {
        str(capability): ["yes" if capability in CAPABILITIES[engine] else "" for engine in engines]
        for capability in Capability
    }

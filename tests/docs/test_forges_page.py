"""The page of forges lists each of them."""

from __future__ import annotations

from pathlib import Path

from lumper.forges.all import open_forges
from lumper.forges.port import Forge

PAGE = (Path(__file__).parents[2] / "docs/how-to/forges.md").read_text("utf-8")


def _row(forge: Forge) -> str:
    guide = forge.guide
    return f"| {guide.title} | `/hooks/{forge.name}/PROJECT` | {guide.proof} | {guide.event} | {guide.scopes} |"


def test_the_table_has_a_row_for_each_forge() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "`/hooks/" in line]
    assert rows == [_row(forge) for forge in open_forges()]

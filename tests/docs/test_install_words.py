"""Nobody is sent to PyPI: the name `lumper` there belongs to another tool."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "src").rglob("*.py"))]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text.relative_to(ROOT)))
def test_lumper_is_installed_from_a_checkout(text: Path) -> None:
    assert not re.findall(r"pip install [^\n&]*?(?<![\w/.-])['\"]?lumper(?:\[|['\"\s]|$)", text.read_text("utf-8"))

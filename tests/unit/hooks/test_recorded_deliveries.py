"""Deliveries recorded at public projects, where they lie beside the checkout; they are not part of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lumper.hooks.forges.gitea import Gitea
from lumper.hooks.forges.github import GitHub
from lumper.hooks.port import Forge, Request
from lumper.hooks.rules import explain_delivery

RECORDED = Path(__file__).parents[3].parent / "shared" / "webhooks"
FORGES: dict[str, Forge] = {"github": GitHub(), "gitea": Gitea(), "forgejo": Gitea()}


def _entries() -> list[dict[str, Any]]:
    entries = json.loads((RECORDED / "manifest.json").read_text())
    return [entry for entry in entries if entry["forge"] in FORGES]


@pytest.mark.skipif(not (RECORDED / "manifest.json").exists(), reason="the recorded deliveries are not here")
def test_recorded_tag_pushes_build_and_everything_else_is_ignored() -> None:
    wrong = []
    for entry in _entries():
        headers = {name.lower(): value for name, value in entry["headers"].items()}
        request = Request(headers, (RECORDED / entry["file"]).read_bytes())
        explanation = explain_delivery(FORGES[entry["forge"]], request)
        read = entry["read_from_payload"]
        expected: dict[str, Any] = {"verdict": "ignored", "pushes": []}
        if entry["is_tag_push"]:
            push = {"repository": read["repo"], "ref": read["ref"], "commit": read["sha"]}
            expected = {"verdict": "build", "pushes": [push]}
        seen = explanation.as_dict()
        if {key: seen[key] for key in expected} != expected or not seen["reason"]:
            wrong.append((entry["file"], seen))
    assert not wrong

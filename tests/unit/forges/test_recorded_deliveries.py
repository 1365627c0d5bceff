"""Deliveries recorded at public projects, where they lie beside the checkout; they are not part of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lumper.forges.adapters.bitbucket_cloud import BitbucketCloud
from lumper.forges.all import open_forges
from lumper.forges.port import Request
from lumper.forges.rules import explain_delivery

RECORDED = Path(__file__).parents[3].parent / "shared" / "webhooks"
FORGES = open_forges()
_SIGNED = "bitbucket-cloud/bbs__signed_payload.json"
_SECRET = "Gkvl$k$wyNpQAF42"  # of that public test vector

pytestmark = pytest.mark.skipif(
    not (RECORDED / "manifest.json").exists(), reason="the recorded deliveries are not here"
)


def _entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDED / "manifest.json").read_text())
    return found


def _request(entry: dict[str, Any]) -> Request:
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    return Request(headers, (RECORDED / entry["file"]).read_bytes())


def _builds(entry: dict[str, Any]) -> bool:
    """Gogs tells of a new tag by a create event alone."""
    created = entry["is_tag_create_event"] and entry["forge"] == "gogs"
    return bool(entry["is_tag_push"] or created)


def _same_push(seen: dict[str, Any], read: dict[str, Any]) -> bool:
    """Of several changes the manifest tells only the first."""
    several = read.get("n_changes", 1) > 1
    ref = str(read["ref"]).removeprefix("refs/tags/")
    named = several or (seen["ref"], seen["commit"]) == (f"refs/tags/{ref}", read["sha"])
    return bool(seen["repository"] == read["repo"] and named)


def test_recorded_tag_pushes_build_and_everything_else_is_ignored() -> None:
    wrong = []
    for entry in _entries():
        seen = explain_delivery(FORGES.get(entry["forge"]), _request(entry)).as_dict()
        pushes: Any = seen["pushes"]
        if _builds(entry):
            right = seen["verdict"] == "build" and len(pushes) == 1
            right = right and _same_push(pushes[0], entry["read_from_payload"])
        else:
            right = seen["verdict"] == "ignored" and not pushes
        if not right or not seen["reason"]:
            wrong.append((entry["file"], seen))
    assert not wrong


def test_the_recorded_signature_of_bitbucket_verifies() -> None:
    request = _request(next(entry for entry in _entries() if entry["file"] == _SIGNED))
    assert BitbucketCloud().verify(request, _SECRET)
    assert not BitbucketCloud().verify(request, _SECRET + "x")

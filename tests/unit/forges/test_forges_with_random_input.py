from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.forges.all import open_forges
from lumper.forges.port import Request
from lumper.forges.rules import explain_delivery
from lumper.model.source import Verdict
from parts.git import deliveries

FORGES = open_forges()
FILES = deliveries.FIXTURES.glob("*/*.json")
NAMES = sorted(f"{path.parent.name}/{path.stem}" for path in FILES if path.stem != "forge")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "x-github-event",
            "x-gitea-event",
            "x-forgejo-event",
            "x-github-delivery",
            "x-gitea-delivery",
            "x-hub-signature-256",
            "x-gitea-signature",
            "x-forgejo-signature",
            "x-gitlab-event",
            "x-gitlab-token",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "x-gogs-event",
            "x-gogs-signature",
            "x-event-key",
            "x-hub-signature",
        ]
    ),
    st.sampled_from(["push", "create", "application/json", "application/x-www-form-urlencoded", "sha256=é"])
    | st.text(st.characters(exclude_categories=()), max_size=12),
)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [(*path, key) for key, _ in items] + [p for key, inner in items for p in _paths(inner, (*path, key))]


@st.composite
def mutated(draw: st.DrawFn) -> Request:
    """A real payload in which one or two values, at any depth, are something else or gone."""
    name = draw(st.sampled_from(NAMES))
    payload = copy.deepcopy(deliveries.payload(name))
    for _ in range(draw(st.integers(1, 2))):
        *parents, last = draw(st.sampled_from(_paths(payload)))
        place: Any = payload
        for key in parents:
            place = place[key]
        if draw(st.booleans()):
            place[last] = draw(json_values)
        elif isinstance(place, dict):
            del place[last]
        if not payload:
            break
    request = deliveries.fixture(name)
    return Request(request.headers, json.dumps(payload).encode())


def _never_raises(request: Request) -> None:
    for forge in FORGES:
        assert forge.verify(request, "secret") is False
        explanation = explain_delivery(forge, request)
        json.dumps(explanation.as_dict(), ensure_ascii=False).encode()
        assert explanation.reason
        assert "\n" not in explanation.reason
        assert (explanation.verdict is Verdict.BUILD) == bool(explanation.pushes)


@settings(max_examples=300, deadline=None)
@given(headers=headers, body=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_come_the_answer_is_a_verdict(headers: dict[str, str], body: bytes) -> None:
    _never_raises(Request(headers, body))


@settings(max_examples=500, deadline=None)
@given(request=mutated())
def test_however_a_real_payload_is_mutated_the_answer_is_a_verdict(request: Request) -> None:
    _never_raises(request)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(NAMES), cut=st.integers(0, 900), length=st.integers(0, 40), put=st.binary(max_size=20))
def test_however_a_real_body_is_cut_the_answer_is_a_verdict(name: str, cut: int, length: int, put: bytes) -> None:
    request = deliveries.fixture(name)
    _never_raises(Request(request.headers, request.body[:cut] + put + request.body[cut + length :]))

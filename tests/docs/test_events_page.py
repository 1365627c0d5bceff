"""The page of events tells every topic, every payload and every field, and the answers to webhooks."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from lumper.model import events
from lumper.model.builds.build import Result
from lumper.model.source import Verdict

PAGE = (Path(__file__).parents[2] / "docs/reference/events.md").read_text("utf-8")
PAYLOADS = [*get_args(events.Payload), Result]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
def test_a_payload_has_a_section_with_all_its_fields(payload: type) -> None:
    heading = f"### `{payload.__name__}`\n"
    assert heading in PAGE
    text = PAGE.split(heading, 1)[1].split("\n### ", 1)[0]
    assert re.findall(r"(?m)^\| `(\w+)` \| \S", text) == [field.name for field in fields(payload)]


def test_there_is_no_section_for_a_payload_that_does_not_exist() -> None:
    assert set(re.findall(r"(?m)^### `(\w+)`$", PAGE)) == {payload.__name__ for payload in PAYLOADS}


def test_every_topic_is_told() -> None:
    told = re.findall(r"(?m)^\| `([\w.:<>]+)` \| .* → ", PAGE)
    assert set(told) == {
        events.jobs_topic("<name>"),
        events.EVENTS,
        events.NOTIFY,
        events.DEPLOY,
        events.STATUSES,
        events.worker_topic("<name>"),
    }


def test_every_answer_to_a_webhook_is_told() -> None:
    door = (Path(__file__).parents[2] / "src/lumper/web/hooks.py").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (\d{3}) \| `(\w+)` \| \S", PAGE)
    assert {verdict for _, verdict in rows} == set(Verdict)
    assert {status for status, _ in rows} == {*re.findall(r"\b[245]\d\d\b", door.split('"""')[1]), "200"}

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.errors import QueueError
from lumper.model import events
from lumper.model.builds.build import Base, Build, BuildState, Outcome, Result
from lumper.model.deployment import Container, ContainerState, Health, Port, Release, RolloutState, Service
from lumper.model.source import Person
from lumper.queue.codec import decode, encode

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
PERSON = Person("Ada Lovelace ✓", "ada@example.org")
SERVICE = Service(
    name="web",
    ports=(Port(8080, 80), Port(53, 0, "0.0.0.0", "udp")),
    env={"GREETING": "hello=world\n"},
    volumes={"data": "/data"},
    command=("serve", "--quick"),
    health=Health(http="/healthz", port=8080, command=("true",), interval=0.1, timeout=3, stable=0.5),
    stop_timeout=2.5,
)
BUILD = Build(
    id=7,
    project="owner/name",
    ref="refs/tags/v1.2.3",
    commit="c" * 40,
    image="owner/name",
    state=BuildState.SUCCEEDED,
    attempt=2,
    created_at=AT,
    pusher=PERSON,
    author=PERSON,
    started_at=AT,
    finished_at=None,
    worker="local",
    digest=DIGEST,
    size=2**40,
    tags=("1.2.3", "1.2", "1", "latest"),
    elsewhere=("registry.example.com/team/app:1.2.3",),
    error="",
    hint="",
    log_size=99,
)
RESULT = Result(
    outcome=Outcome.SUCCEEDED,
    commit="c" * 40,
    author=PERSON,
    digest=DIGEST,
    size=5,
    service=SERVICE,
    stages={"checkout": 12, "build": 3456},
    elsewhere=("registry.example.com/team/app:1.2.3",),
)
CONTAINER = Container(
    id="c0ffee",
    service="web",
    digest=DIGEST,
    config_hash=SERVICE.config_hash,
    generation=3,
    state=ContainerState.HEALTHY,
    ports=(Port(8080, 32768),),
    restarts=1,
    exit_code=None,
    started_at=AT,
)
JOB = events.BuildJob(
    build_id=7,
    attempt=1,
    project_id="p1",
    project="owner/name",
    url="https://forge.example/owner/name.git",
    local=False,
    ref="refs/tags/v1.2.3",
    commit="c" * 40,
    image="owner/name",
    push_tag="build-7-1",
)
AGAIN = replace(JOB, trigger="verify", verifies=6, bases=(Base("docker.io/library/alpine:3.20", DIGEST),))
PAYLOADS: tuple[events.Payload, ...] = (
    JOB,
    AGAIN,
    events.CancelBuild(7, 1),
    events.CancelBuild(7, 1, "claim"),
    events.WorkerOnline("local", "boot"),
    events.AttemptStarted(7, 1, "claim", "local", "boot", AT),
    events.Heartbeat("local", ((7, 1, "claim"), (8, 2, "other"))),
    events.Heartbeat("local", ()),
    events.LogChunk(7, 1, "claim", 4096, 'a line with \x00, \x1b[0m, "quotes", ✓ and 🐋\n'),
    events.AttemptFinished(7, 1, "claim", AT, 4096, RESULT),
    events.AttemptFinished(7, 1, "claim", AT, 0, Result(Outcome.FAILED, error="no", hint="do", temporary=True)),
    events.RolloutJob(4, Release(SERVICE, "127.0.0.1:5080/owner/name", DIGEST, 3, "1.2.3", 7)),
    events.RolloutJob(4, Release(Service("bare"), "127.0.0.1:5080/owner/name", DIGEST, 1)),
    events.RolloutProgress(4, RolloutState.RUNNING, 2, ("pulled", "started"), AT),
    events.HostObserved("local", AT, (CONTAINER,)),
    events.HostObserved("local", AT, ()),
    events.BuildReport(BUILD, "registry.example:5080", "https://lumper.example/builds/7"),
    events.StatusDue(7),
    events.RolloutReport(4, "web", "1.2.3", DIGEST, RolloutState.FAILED, ("pulled",), "unhealthy", "look", "page"),
    events.RolloutReport(4, "web", "1.2.3", DIGEST, RolloutState.SUCCEEDED, (), "", "", "page", BUILD),
)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
def test_a_payload_comes_back_as_it_was_sent(payload: events.Payload) -> None:
    again = decode(encode(payload))
    assert again == payload
    assert type(again) is type(payload)


def test_every_kind_of_payload_is_tried_above() -> None:
    assert {type(payload) for payload in PAYLOADS} == set(get_args(events.Payload))


def test_nested_values_come_back_with_their_types() -> None:
    finished = decode(encode(events.AttemptFinished(7, 1, "claim", AT, 1, RESULT)))
    assert isinstance(finished, events.AttemptFinished)
    assert isinstance(finished.result.outcome, Outcome)
    assert finished.at.tzinfo is not None
    service = finished.result.service
    assert service is not None
    assert service.config_hash == SERVICE.config_hash
    assert isinstance(service.ports, tuple)


@given(st.text(), st.integers(min_value=0, max_value=2**63))
def test_every_text_of_a_log_survives(data: str, offset: int) -> None:
    chunk = events.LogChunk(1, 1, "claim", offset, data)
    assert decode(encode(chunk)) == chunk


def test_a_field_of_a_newer_version_is_left_out() -> None:
    body = json.loads(encode(JOB))
    body["payload"]["colour"] = "blue"
    assert decode(json.dumps(body).encode()) == JOB


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"BuildJob"',
        b"{}",
        b'{"type": "BuildJob"}',
        b'{"type": "BuildJob", "payload": null}',
        b'{"type": "BuildJob", "payload": {"build_id": 1}}',
        b'{"type": "CancelBuild", "payload": {"build_id": "seven", "attempt": 1}}',
        b'{"type": "Teapot", "payload": {}}',
        b'{"type": ["BuildJob"], "payload": {}}',
        b'{"type": "datetime", "payload": "2026-01-01T00:00:00Z"}',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_not_understood_is_a_queue_error(body: bytes) -> None:
    with pytest.raises(QueueError, match="unknown kind"):
        decode(body)

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from lumper.build.engines.buildkit.api import registry_auth
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.port import Login, Pushed
from lumper.errors import PushFailed
from lumper.model.builds.build import Output, Progress, Step, StepState

IMAGE = "registry.test/app:1"
DIGEST = f"sha256:{'ab' * 32}"
LAYERS: list[dict[str, Any]] = [
    {"status": "The push refers to repository [registry.test/app]"},
    {"status": "Preparing", "progressDetail": {}, "id": "ebd720fe1580"},
    {"status": "Waiting", "progressDetail": {}, "id": "ebd720fe1580"},
    {"status": "Pushing", "progressDetail": {"current": 1, "total": 2}, "progress": "[>]", "id": "ebd720fe1580"},
    {"status": "Retrying in 5 seconds", "progressDetail": {}, "id": "ebd720fe1580"},
    {"status": "Pushed", "progressDetail": {}, "id": "ebd720fe1580"},
    {"status": "Layer already exists", "progressDetail": {}, "id": "0badcafe0000"},
]
SPOKEN: dict[str, Any] = {"status": f"1: digest: {DIGEST} size: 527"}
AUX: dict[str, Any] = {"progressDetail": {}, "aux": {"Tag": "1", "Digest": DIGEST, "Size": 527}}


def read(*messages: dict[str, Any]) -> tuple[PushReader, list[Progress]]:
    told: list[Progress] = []
    reader = PushReader(IMAGE, 1001, told.append, lambda: 7.0)
    for message in messages:
        reader.receive(message)
    return reader, told


@pytest.mark.parametrize("end", [(SPOKEN, AUX), (SPOKEN,), (AUX,)])
def test_a_push_is_one_step_with_a_line_for_each_layer(end: tuple[dict[str, Any], ...]) -> None:
    reader, told = read(*LAYERS, *end)

    with reader.under_way():
        assert reader.result() == Pushed(DIGEST, 527)
    assert told == [
        Step(1001, f"push {IMAGE}", StepState.RUNNING, 7.0),
        Output(1001, 1, 7.0, "ebd720fe1580: Pushed"),
        Output(1001, 1, 7.0, "0badcafe0000: Layer already exists"),
        Step(1001, f"push {IMAGE}", StepState.DONE, 7.0),
    ]


@pytest.mark.parametrize(
    "message",
    [{"errorDetail": {"message": "denied: no"}, "error": "denied: no"}, {"error": "denied: no"}],
)
def test_an_error_in_the_stream_fails_the_push(message: dict[str, Any]) -> None:
    reader, told = read(*LAYERS, message)

    with pytest.raises(PushFailed, match="denied: no") as failed, reader.under_way():
        reader.result()
    assert told[-1] == Step(1001, f"push {IMAGE}", StepState.FAILED, 7.0, failed.value.message)


def test_a_push_that_is_cut_off_says_so() -> None:
    reader, told = read(*LAYERS)

    with pytest.raises(asyncio.CancelledError), reader.under_way():
        raise asyncio.CancelledError
    assert told[-1] == Step(1001, f"push {IMAGE}", StepState.CANCELLED, 7.0)


def test_a_push_without_a_digest_has_failed() -> None:
    reader, _ = read(*LAYERS)

    with pytest.raises(PushFailed, match="no digest"):
        reader.result()


def test_credentials_travel_as_the_engine_wants_them() -> None:
    header = registry_auth(Login("worker", "sécret?>"))

    assert json.loads(base64.urlsafe_b64decode(header)) == {"username": "worker", "password": "sécret?>"}
    assert json.loads(base64.urlsafe_b64decode(registry_auth(None))) == {}

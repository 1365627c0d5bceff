"""The texts are those of Engine 20.10 (BuildKit 0.8), 26.1 (0.13) and 28.5 (0.25)."""

from __future__ import annotations

import pytest

from lumper.build.engines.buildkit.errors import build_error, exit_code_alone, is_lost, reason
from lumper.build.engines.registry_words import push_error
from lumper.errors import (
    BuildFailed,
    BuildRefused,
    DockerfileMissing,
    EngineError,
    PushFailed,
)
from lumper.model.builds.build import Step, StepState

NO_HOST = (
    'failed to do request: Head "https://registry-1.docker.io/v2/docker/dockerfile/manifests/1": dial tcp: lookup '
    "registry-1.docker.io on 10.0.0.53:53: no such host"
)


def failed(name: str, error: str, text: str = "") -> BuildFailed:
    found = build_error(text or error, [Step(4, name, StepState.FAILED, 1, error)], "Dockerfile")
    assert isinstance(found, BuildFailed)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "executor failed running [/bin/sh -c make]: exit code: 2",
        'process "/bin/sh -c make" did not complete successfully: exit code: 2',
    ],
)
def test_a_command_that_fails_is_named_with_its_exit_code(text: str) -> None:
    error = failed("[2/3] RUN make", text)

    assert (error.step, error.exit_code) == ("[2/3] RUN make", 2)
    assert error.message == "Step `[2/3] RUN make` ended with exit code 2."
    assert error.hint == ""


@pytest.mark.parametrize(("code", "hint"), [(127, "not in the image"), (137, "memory"), (126, "cannot be executed")])
def test_exit_codes_that_the_shell_gives_have_a_hint(code: int, hint: str) -> None:
    error = failed("[2/3] RUN make", f"executor failed running [/bin/sh -c make]: exit code: {code}")

    assert hint in error.hint


def test_the_step_that_the_engine_names_is_told_and_not_another_that_failed() -> None:
    failures = [
        Step(3, "[a 1/2] RUN one", StepState.FAILED, 1, "executor failed running [one]: exit code: 1"),
        Step(4, "[b 1/2] RUN two", StepState.FAILED, 2, "executor failed running [two]: exit code: 2"),
    ]

    error = build_error("executor failed running [two]: exit code: 2", failures, "Dockerfile")

    assert isinstance(error, BuildFailed)
    assert error.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "failed to solve with frontend dockerfile.v0: failed to read dockerfile: open "
        "/var/lib/docker/tmp/buildkit-mount2787950294/Dockerfile: no such file or directory",
        "failed to read dockerfile: open Dockerfile: no such file or directory",
    ],
)
def test_a_missing_dockerfile_is_told_apart(text: str) -> None:
    error = build_error(text, [], "docker/app.Dockerfile")

    assert isinstance(error, DockerfileMissing)
    assert error.message == "There is no docker/app.Dockerfile at this commit."


@pytest.mark.parametrize(
    "text",
    [
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 3: "
        "unknown instruction: FOO",
        "dockerfile parse error on line 3: unknown instruction: FOO",
    ],
)
def test_a_broken_dockerfile_is_told_with_its_line(text: str) -> None:
    assert build_error(text, [], "Dockerfile").message == "Dockerfile, line 3: unknown instruction: FOO."


@pytest.mark.parametrize(
    "step",
    [
        "resolve image config for docker.io/docker/dockerfile:1",
        "resolve image config for docker-image://docker.io/docker/dockerfile:1",
    ],
)
def test_a_syntax_image_that_cannot_be_fetched_has_a_way_out(step: str) -> None:
    error = failed(step, NO_HOST, f"failed to solve with frontend gateway.v0: {NO_HOST}")

    assert error.message == (
        "The syntax image docker.io/docker/dockerfile:1 cannot be fetched: "
        "lookup registry-1.docker.io on 10.0.0.53:53: no such host."
    )
    assert "Remove that line" in error.hint


@pytest.mark.parametrize(
    ("step", "error", "hint"),
    [
        ("[internal] load metadata for docker.io/library/python:3", NO_HOST, "cannot reach"),
        ("FROM docker.io/library/python:3", "docker.io/library/python:3: not found", "name and tag"),
        (
            "[app 1/2] FROM docker.io/library/python:3@sha256:00",
            "pull access denied, repository does not exist or may require authorization",
            "private",
        ),
    ],
)
def test_a_base_image_that_cannot_be_fetched_has_a_hint(step: str, error: str, hint: str) -> None:
    found = failed(step, error)

    assert found.message.startswith("The base image docker.io/library/python:3")
    assert hint in found.hint


@pytest.mark.parametrize(
    "error",
    [
        '"/nothing" not found: not found',
        'failed to compute cache key: failed to calculate checksum of ref moby::ab12cd: "/nothing": not found',
    ],
)
def test_a_step_without_exit_code_says_its_reason(error: str) -> None:
    found = failed("[2/2] COPY nothing /", error)

    assert found.exit_code is None
    assert found.message.startswith('Step `[2/2] COPY nothing /` failed: "/nothing"')
    assert found.message.endswith("not found.")
    assert "not found: not found" not in found.message


def test_a_full_disk_of_the_engine_has_a_hint() -> None:
    assert "docker system df" in failed("[2/2] COPY . /", "write /x: no space left on device").hint


def test_an_unknown_error_is_passed_on() -> None:
    error = build_error("failed to solve: rpc error: code = Unknown desc = the moon is full", [], "Dockerfile")

    assert type(error) is BuildFailed
    assert error.message == "The build failed: the moon is full."


@pytest.mark.parametrize("text", ["", "failed to solve: ", "executor failed running [", "failed to do request:"])
def test_odd_texts_give_an_error_all_the_same(text: str) -> None:
    assert isinstance(build_error(text, [], "Dockerfile"), EngineError)
    assert isinstance(failed("", text, text or "x"), BuildFailed)


def test_reasons_lose_only_the_rooms_that_they_came_through() -> None:
    assert reason('Get "https://a.test/x": dial tcp: lookup a.test: no such host') == "lookup a.test: no such host"
    assert reason("the Dockerfile cannot be empty") == "the Dockerfile cannot be empty"
    assert reason("failed to load LLB: network.host is not allowed") == "network.host is not allowed"


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("context canceled", True),
        ("no active session for ab12: context deadline exceeded", True),
        ("transport is closing", True),
        ("executor failed running [context canceled]: exit code: 1", False),
        ("dockerfile parse error line 1: unknown instruction", False),
    ],
)
def test_an_engine_that_gives_up_is_told_from_a_build_that_fails(text: str, lost: bool) -> None:
    assert is_lost(text) is lost


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("received unexpected HTTP status: 507 Insufficient Storage", "free some"),
        ("write /data: no space left on device", "free some"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "must reach"),
        ("http: server gave HTTP response to HTTPS client", "insecure registries"),
        ("unauthorized: authentication required", "token"),
        ("denied: requested access to the resource is denied", "token"),
        ("something else", ""),
    ],
)
def test_a_push_that_fails_has_a_hint(text: str, hint: str) -> None:
    error = push_error("registry.test/app:1", text)

    assert isinstance(error, PushFailed)
    assert error.message == f"registry.test/app:1 was not pushed: {text}."
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("failed to solve: network.host is not allowed", "network.host"),
        ("failed to solve with frontend dockerfile.v0: rpc error: code = Unknown "
         "desc = failed to build LLB: security.insecure is not allowed", "security.insecure"),
        ("granting entitlement security.insecure is not allowed by build daemon configuration", "security.insecure"),
        ("failed to solve: device vendor.com/device=all is not allowed", "device"),
    ],
)  # fmt: skip
def test_a_right_that_was_not_granted_is_named_with_the_option_that_grants_it(text: str, right: str) -> None:
    error = build_error(text, [], "Dockerfile")
    assert isinstance(error, BuildRefused)
    assert f"asks for {right}" in error.message
    assert "[worker]" in error.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("secret npm_token: not found: not found", 'secrets = ["npm_token"]'),
        ("secret npm not found: not found", 'secrets = ["npm"]'),
        ('no SSH key "" forwarded from the client', "ssh = true"),
        ('secret "npm": not found', 'secrets = ["npm"]'),
        ('no SSH key "vendor" forwarded from the client', 'ssh = ["vendor"]'),
        ("no ssh forwarded from the client", "ssh = true"),
        ('no SSH key "default" forwarded from the client', "ssh = true"),
    ],
)
def test_a_secret_that_was_not_asked_for_is_told_with_the_line_that_asks_for_it(text: str, hint: str) -> None:
    assert hint in failed("[2/2] RUN --mount=type=secret,required make", text).hint


@pytest.mark.parametrize(
    "text",
    [
        "failed to calculate checksum of ref x::y: failed to walk /d/tmp/buildkit-mount73/out: lstat "
        "/d/tmp/buildkit-mount73/out: no such file or directory",
        "failed to walk /var/lib/docker/overlay2/ab12/merged/out: lstat /var/lib/docker/overlay2/ab12/merged/out: no "
        "such file or directory",
        'failed to compute cache key: "/out" not found: not found',
    ],
)
def test_the_engine_s_own_paths_are_left_out(text: str) -> None:
    assert "/out" in reason(text)
    assert not set(reason(text).split()) & {"lstat", "walk"}
    assert "/d" not in reason(text)
    assert "/var" not in reason(text)


def test_a_syntax_image_that_ends_without_a_word_is_told_from_a_step_that_fails() -> None:
    assert exit_code_alone("failed to solve: exit code: 1") == "1"
    assert exit_code_alone("failed to solve with frontend gateway.v0: exit code: 127") == "127"
    assert exit_code_alone("executor failed running [/bin/sh -c make]: exit code: 2") == ""

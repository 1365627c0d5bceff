"""What is said of a base image of our own registry that a build may not pull."""

from __future__ import annotations

import pytest

from lumper.build.failure.own_registry import grant_hint

OWN = {"registry.example.org", "127.0.0.1:5080"}
REFUSED = "pulling from host 127.0.0.1:5080 failed with status code [manifests latest]: 403 Forbidden."


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("127.0.0.1:5080/base:latest", "base"),
        ("registry.example.org/team/os", "team/os"),
        ("registry.example.org/team/os:1@sha256:abc", "team/os"),
    ],
)
def test_the_command_names_project_and_repository(image: str, repository: str) -> None:
    hint = grant_hint(f"Dockerfile, line 1: the base image {image} cannot be fetched: {REFUSED}", OWN, "team/app")
    assert f"`lumper grant add project:team/app {repository}`" in hint


@pytest.mark.parametrize(
    "message",
    [
        f"The base image docker.io/library/base:1 cannot be fetched: {REFUSED}",
        f"The base image base:1 cannot be fetched: {REFUSED}",
        "The base image 127.0.0.1:5080/base:1 cannot be fetched: 127.0.0.1:5080/base:1: not found.",
        "Step `[2/2] RUN make` ended with exit code 1.",
    ],
)
def test_nothing_is_said_of_others_and_of_tags_that_are_not_there(message: str) -> None:
    assert grant_hint(message, OWN, "team/app") == ""

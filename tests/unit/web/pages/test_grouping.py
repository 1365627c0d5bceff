from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumper.model.deployment import Container, ContainerState, Rollout, RolloutState
from lumper.model.images.image import Tag
from lumper.web.pages.images.repository import versions
from lumper.web.pages.services import services
from lumper.web.pages.site import local_path

NOW = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)


def a_container(service: str, state: ContainerState = ContainerState.HEALTHY) -> Container:
    return Container("c1", service, "sha256:0", "hash", 1, state)


def a_rollout(rollout_id: int, service: str, state: RolloutState) -> Rollout:
    return Rollout(rollout_id, service, "sha256:0", rollout_id, "v1", state, NOW)


def test_tags_of_one_digest_are_one_version_with_the_exact_tag_first() -> None:
    old, new = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    tags = [
        Tag("1", new, NOW, 4),
        Tag("1.1.0", new, NOW, 4),
        Tag("1.1", new, NOW, 4),
        Tag("latest", new, NOW, 4),
        Tag("1.0.0", old, NOW - timedelta(days=1), 3),
    ]
    assert [(version.digest, version.tags, version.build_id) for version in versions(tags)] == [
        (new, ("1.1.0", "1.1", "1", "latest"), 4),
        (old, ("1.0.0",), 3),
    ]


@pytest.mark.parametrize(
    ("containers", "rollouts", "state"),
    [
        ([a_container("web")], [], "up"),
        ([a_container("web"), a_container("web", ContainerState.UNHEALTHY)], [], "trouble"),
        ([a_container("web"), a_container("web", ContainerState.EXITED)], [], "trouble"),
        ([a_container("web", ContainerState.EXITED)], [], "down"),
        ([], [a_rollout(1, "web", RolloutState.FAILED)], "down"),
        ([a_container("web")], [a_rollout(1, "web", RolloutState.RUNNING)], "moving"),
        (
            [a_container("web")],
            [a_rollout(2, "web", RolloutState.FAILED), a_rollout(1, "web", RolloutState.RUNNING)],
            "up",
        ),
    ],
)
def test_a_service_says_in_one_word_how_it_is(containers: list[Container], rollouts: list[Rollout], state: str) -> None:
    (service,) = services(containers, rollouts)
    assert (service.name, service.state) == ("web", state)


@pytest.mark.parametrize("path", ["/", "/builds/7?attempt=2#log", "/images/a/b"])
def test_after_signing_in_a_path_of_ours_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path", ["", "builds", "//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "/\n/e"]
)
def test_after_signing_in_nobody_is_sent_to_another_site(path: str) -> None:
    assert local_path(path) == "/"

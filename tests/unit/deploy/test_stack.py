"""Stacks, releases and their fingerprints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lumper.deploy.stack import Image, Stack, StackRelease, stack_release
from lumper.errors import ReleaseRefused
from lumper.model.deployment import Port, Release, Service

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
WEB = Service("web", ports=(Port(8080, 80),), env={"A": "1", "B": "2"})
JOBS = Service("jobs", command=("work",))


def release(*services: Service, digest: str = DIGEST, generation: int = 1) -> StackRelease:
    images = {service.name: Image(f"registry/{service.name}", digest) for service in services}
    return StackRelease(Stack("shop", services), images, generation, "v1")


def test_a_recipes_release_becomes_a_stack_of_one_service() -> None:
    one = Release(WEB, "registry/web", DIGEST, 7, "v1.2.3")
    made = stack_release(one)
    assert (made.stack, made.generation, made.version) == (Stack("web", (WEB,)), 7, "v1.2.3")
    assert made.services == (one,)


def test_fingerprint_ignores_generation_version_and_order() -> None:
    assert release(WEB, JOBS).fingerprint == release(JOBS, WEB, generation=9).fingerprint
    assert replace(release(WEB), version="v2").fingerprint == release(WEB).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        release(WEB, digest=OTHER),
        release(replace(WEB, env={"A": "1", "B": "3"})),
        release(replace(WEB, name="web2")),
        release(WEB, JOBS),
    ],
    ids=["digest", "environment", "name", "another service"],
)
def test_fingerprint_changes_with_what_runs(other: StackRelease) -> None:
    assert other.fingerprint != release(WEB).fingerprint


def test_config_hash_ignores_images() -> None:
    assert release(WEB).stack.config_hash == release(WEB, digest=OTHER).stack.config_hash


def test_every_service_has_the_generation_and_its_own_image() -> None:
    web, jobs = release(WEB, JOBS, generation=4).services
    assert (web.reference, web.generation) == (f"registry/web@{DIGEST}", 4)
    assert (jobs.reference, jobs.generation) == (f"registry/jobs@{DIGEST}", 4)


@pytest.mark.parametrize(
    ("services", "images", "generation", "words"),
    [
        ((), {}, 1, "no service"),
        ((WEB, WEB), {"web": Image("r/web", DIGEST)}, 1, "same name"),
        ((WEB,), {}, 1, "do not match: web"),
        ((WEB,), {"web": Image("r/web", DIGEST), "x": Image("r/x", DIGEST)}, 1, "do not match: x"),
        ((WEB,), {"web": Image("r/web", "latest")}, 1, "not an image by digest"),
        ((WEB,), {"web": Image("r/web", DIGEST)}, 0, "no generation"),
    ],
)
def test_release_that_does_not_fit_is_refused(
    services: tuple[Service, ...], images: dict[str, Image], generation: int, words: str
) -> None:
    with pytest.raises(ReleaseRefused, match=words):
        StackRelease(Stack("shop", services), images, generation)

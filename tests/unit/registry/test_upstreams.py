"""Which repository is a cache of what, and what it is called there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.upstreams import Upstream, Upstreams

HUB = "https://registry-1.docker.io"
DAY = timedelta(days=1)


@pytest.fixture
async def hub() -> AsyncIterator[RemoteRegistry]:
    registry = RemoteRegistry(HUB)
    yield registry
    await registry.close()


@pytest.fixture
async def other() -> AsyncIterator[RemoteRegistry]:
    registry = RemoteRegistry("https://ghcr.io")
    yield registry
    await registry.close()


@pytest.fixture
def upstreams(hub: RemoteRegistry, other: RemoteRegistry) -> Upstreams:
    some = [
        Upstream("docker.io", hub, default=True, keep=DAY),
        Upstream("team/mirror", other),
        Upstream("team/mirror/deep", other),
    ]
    return Upstreams(some, Path("unused"))


@pytest.mark.parametrize(
    ("repository", "prefix", "kept"),
    [
        ("docker.io/library/alpine", "docker.io", DAY),
        ("docker.io/alpine", "docker.io", DAY),
        ("docker.io", "", None),
        ("docker.iox/alpine", "", None),
        ("app", "", None),
        ("team/app", "", None),
        ("team/mirror", "", None),
        ("team/mirror/app", "team/mirror", None),
        ("team/mirror/deep/app", "team/mirror/deep", None),
        ("team/mirrored/app", "", None),
        ("own/team/mirror/app", "", None),
    ],
)
def test_a_repository_is_a_cache_of_what_its_longest_prefix_names(
    upstreams: Upstreams, repository: str, prefix: str, kept: timedelta | None
) -> None:
    found = upstreams.of(repository)

    assert (found.prefix if found else "") == prefix
    assert upstreams.unused_after(repository) == kept


async def test_an_upstream_is_found_by_the_name_that_people_type_and_one_is_the_default(
    upstreams: Upstreams, other: RemoteRegistry
) -> None:
    assert upstreams.default is not None
    assert upstreams.default.prefix == "docker.io"
    assert upstreams.named("docker.io") is upstreams.default
    assert upstreams.named("ghcr.io") is None
    assert Upstreams([Upstream("ghcr.io", other)], Path("unused")).default is None


async def test_a_repository_has_its_own_name_upstream(hub: RemoteRegistry, other: RemoteRegistry) -> None:
    names = {
        "x/alpine": "library/alpine",  # as the Docker Engine does
        "x/team/app": "team/app",
        "x/x/app": "x/app",
    }
    assert {name: Upstream("x", hub).remote_name(name) for name in names} == names
    assert Upstream("x", other).remote_name("x/alpine") == "alpine"


async def test_globs_are_of_the_names_upstream(hub: RemoteRegistry) -> None:
    some = Upstream("x", hub, only=("library/*", "team/app"))
    names = {"alpine": True, "library/alpine": True, "team/app": True, "team/other": False}

    assert {name: some.serves(f"x/{name}") for name in names} == names
    assert Upstream("x", hub).serves("x/anything/at/all")

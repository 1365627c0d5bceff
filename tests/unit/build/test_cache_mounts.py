"""Namespaces of cache mounts: one for each project, one for each group that the worker allows."""

from __future__ import annotations

import pytest

from lumper.build.cache_mounts import engine_args, namespace
from lumper.build.port import BuildRequest
from lumper.errors import BuildRefused

ALLOWED = {"go": ("team/*", "owner/app")}


def test_each_project_has_its_own_namespace() -> None:
    assert namespace("owner/app", "1a", "", ALLOWED) != namespace("owner/lib", "2b", "", ALLOWED)


def test_projects_of_an_allowed_group_share_a_namespace() -> None:
    assert namespace("owner/app", "1a", "go", ALLOWED) == namespace("team/lib", "2b", "go", ALLOWED)


@pytest.mark.parametrize(("project", "group"), [("owner/lib", "go"), ("owner/app", "rust")])
def test_a_group_that_is_not_allowed_is_refused_with_the_setting_that_allows_it(project: str, group: str) -> None:
    with pytest.raises(BuildRefused, match=f'the cache group "{group}"') as caught:
        namespace(project, "1a", group, ALLOWED)
    assert f'`{group} = ["{project}"]` in [worker.cache_groups]' in caught.value.hint


def test_an_argument_of_the_build_does_not_take_the_place_of_the_namespace() -> None:
    request = BuildRequest("1", "app:1", args={"A": "1", "BUILDKIT_CACHE_MOUNT_NS": "project-x"}, cache_mounts="mine")
    assert engine_args(request) == {"A": "1", "BUILDKIT_CACHE_MOUNT_NS": "mine"}

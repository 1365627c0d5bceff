from __future__ import annotations

import pytest

from lumper.model.people.people import Identity, Role
from lumper.registry.access import may_write_tag


@pytest.mark.parametrize("tag", ["_build-7-2", "buildcache", "buildcache-main"])
def test_a_build_writes_the_tag_of_its_attempt_and_its_caches(tag: str) -> None:
    assert may_write_tag(Identity("_build-7-2", Role.BUILD), tag)


@pytest.mark.parametrize(
    "tag", ["_build-7-1", "_build-8-2", "latest", "1.2.3", "buildcaches", "buildcache-" + "x" * 128]
)
def test_a_build_writes_no_other_tag(tag: str) -> None:
    assert not may_write_tag(Identity("_build-7-2", Role.BUILD), tag)


def test_people_write_all_tags_but_those_of_builds() -> None:
    assert may_write_tag(Identity("ann", Role.USER), "latest")
    assert may_write_tag(None, "latest")
    assert not may_write_tag(Identity("ann", Role.USER), "_build-7-2")
    assert may_write_tag(Identity("root", Role.ADMIN), "_build-7-2")

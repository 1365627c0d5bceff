from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from lumper.build.port import Login
from lumper.build.recipe.asked import Asked, RecipePlace
from lumper.build.recipe.recipe import Recipe
from lumper.build.recipe.tag_templates import Moment, Template
from lumper.build.replication import BuiltImage, Elsewhere, elsewhere, spread
from lumper.errors import (
    LumperError,
    PushFailed,
    PushRefused,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from lumper.model.builds.build import Output, Progress, Step
from lumper.model.builds.secrets import GivenSecrets

HELD = BuiltImage("owner/app", "sha256:" + "ab" * 32, Login("_build-1-1", "t"))
GIVEN = GivenSecrets(
    logins={"r.example.com": ("bot", "p"), "docker.io": ("hub", "q")}, taken=frozenset({"1", "latest"})
)


def moment(ref: str) -> Moment:
    return Moment(ref, "c" * 40, datetime(2024, 1, 2, tzinfo=UTC))


def test_elsewhere_the_image_has_its_tags_or_those_of_the_place_and_none_of_a_higher_version() -> None:
    own = (Template("raw:edge"), Template("semver:{{version}}"))
    push = (RecipePlace("r.example.com/team/app"), RecipePlace("docker.io/team/app", own))
    assert elsewhere(Recipe(asked=Asked(push=push)), moment("refs/tags/v1.2.3"), GIVEN) == [
        Elsewhere("r.example.com/team/app", ("1.2.3", "1.2"), Login("bot", "p")),
        Elsewhere("docker.io/team/app", ("1.2.3", "edge"), Login("hub", "q")),
    ]
    recipe = Recipe(tags=(Template("raw:x"),), asked=Asked(push=push[:1]))
    assert [place.tags for place in elsewhere(recipe, moment("refs/heads/main"), GIVEN)] == [("x",)]
    assert [p.tags for p in elsewhere(Recipe(asked=Asked(push=push[:1])), moment("refs/heads/main"), GIVEN)] == [
        ("main",)
    ]


class Registries:
    """Copies, but for those places that have a trouble."""

    def __init__(self, **troubles: LumperError) -> None:
        self.troubles = troubles
        self.copied: list[str] = []

    async def copy(self, image: BuiltImage, place: Elsewhere, say: Callable[[str], None]) -> None:
        if trouble := self.troubles.get(place.repository):
            raise trouble
        if place.repository == "slow":
            await asyncio.Event().wait()
        self.copied.append(place.repository)
        say("0123: sent")


def places(*names: str) -> list[Elsewhere]:
    return [Elsewhere(name, ("1",), Login("a", "b")) for name in names]


async def run(registries: Registries, *names: str, timeout: float = 5) -> list[Progress]:
    told: list[Progress] = []
    await spread(registries.copy, HELD, places(*names), told.append, timeout=timeout)
    return told


async def test_each_place_is_a_step_that_tells_the_digest() -> None:
    told = await run(Registries(), "one", "two")
    steps = [(step.name, step.state.value) for step in told if isinstance(step, Step)]
    assert steps == [
        ("push one:1", "running"),
        ("push one:1", "done"),
        ("push two:1", "running"),
        ("push two:1", "done"),
    ]
    assert [line.text for line in told if isinstance(line, Output)] == ["0123: sent", f"digest: {HELD.digest}"] * 2


async def test_one_that_fails_does_not_keep_the_others_and_the_error_tells_which_have_it() -> None:
    registries = Registries(one=RemoteUnauthorized("one says no."), three=RemoteUnavailable("three is away."))
    with pytest.raises(PushRefused) as caught:
        await run(registries, "one", "two", "three")
    assert registries.copied == ["two"]
    assert "not pushed to one: one says no." in caught.value.message
    assert "not pushed to three: three is away." in caught.value.message
    assert f"It is at two, as {HELD.digest}." in caught.value.message
    assert not caught.value.temporary


async def test_what_may_pass_is_tried_again_by_the_server() -> None:
    with pytest.raises(PushFailed) as caught:
        await run(Registries(one=RemoteUnavailable("one is away.")), "one")
    assert caught.value.temporary
    with pytest.raises(PushRefused, match="did not end within"):
        await run(Registries(), "slow", timeout=0.05)


async def test_a_place_for_which_no_tag_is_left_is_passed_over() -> None:
    told: list[Progress] = []
    registries = Registries()
    await spread(registries.copy, HELD, [Elsewhere("one", (), Login("a", "b"))], told.append, timeout=5)
    assert registries.copied == []
    assert [line.text for line in told if isinstance(line, Output)] == ["no tag is for this ref"]


async def test_the_names_that_the_image_got_are_told() -> None:
    several = [Elsewhere("one", ("1", "1.2"), Login("a", "b")), Elsewhere("two", (), Login("a", "b"))]
    assert await spread(Registries().copy, HELD, several, lambda _: None, timeout=5) == ("one:1", "one:1.2")

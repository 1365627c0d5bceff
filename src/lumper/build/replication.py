"""The image to other registries than the own one: a step of its own for each, after the push.

The own registry has the image already, so it is copied from there, byte for byte: the digest is the same everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lumper.build.port import Login, Report
from lumper.build.recipe.asked import RecipePlace, span
from lumper.build.recipe.recipe import Recipe
from lumper.build.recipe.tag_templates import Moment, Template, wanted_tags
from lumper.errors import BuildTimeout, LumperError, PushFailed, PushRefused
from lumper.model.builds.build import Output, Step, StepState
from lumper.model.builds.secrets import GivenSecrets
from lumper.model.images.image import moved_tags

FIRST_SPREAD = 9101
"""Steps that bring the image elsewhere are numbered from here."""


@dataclass(frozen=True)
class BuiltImage:
    """An image in the own registry, and how to sign in there."""

    repository: str
    digest: str
    login: Login


@dataclass(frozen=True)
class Elsewhere:
    """HOST/REPOSITORY, the tags that the image gets there, and how to sign in."""

    repository: str
    tags: tuple[str, ...]
    login: Login


Copy = Callable[[BuiltImage, Elsewhere, Callable[[str], None]], Awaitable[None]]
"""Copies an image and says what it did. Raises LumperError."""


def elsewhere(recipe: Recipe, moment: Moment, given: GivenSecrets) -> list[Elsewhere]:
    """Where the image goes, with which tags: none that a higher version has had. Pure."""
    found = []
    for place in recipe.asked.push:
        kept = tuple(tag for tag in tags_at(place, recipe, moment) if tag not in given.taken)
        found.append(Elsewhere(place.repository, kept, Login(*given.logins[place.host])))
    return found


def tags_at(place: RecipePlace, recipe: Recipe, moment: Moment) -> tuple[str, ...]:
    """The tags that an image gets at a place of its recipe, whatever was built before. Pure."""
    return tags_by(recipe.tags if place.tags is None else place.tags, recipe, moment)


def tags_by(templates: Sequence[Template] | None, recipe: Recipe, moment: Moment) -> tuple[str, ...]:
    """The tags by these templates; without any, those that the ref gives by itself. Pure."""
    return moved_tags(moment.ref, ()) if templates is None else wanted_tags(templates, recipe.flavor, moment)


async def spread(
    copy: Copy, image: BuiltImage, places: Sequence[Elsewhere], report: Report, *, timeout: float
) -> tuple[str, ...]:
    """Copy the image to each of the places, which has `timeout` s, also when others have failed; its names there.

    Raises PushFailed (all that failed may pass) or PushRefused: they tell where the image is, and where not.
    """
    there: list[str] = []
    failed: list[tuple[str, LumperError]] = []
    for number, place in enumerate(places, FIRST_SPREAD):
        name = f"push {place.repository}:{', '.join(place.tags)}"
        if not place.tags:
            report(Step(number, name, StepState.RUNNING, time.time()))
            report(Output(number, 0, time.time(), "no tag is for this ref"))
            report(Step(number, name, StepState.DONE, time.time()))
            continue
        error = await _one(copy, image, place, report, number, name, timeout)
        if error is None:
            there.append(place.repository)
        else:
            failed.append((place.repository, error))
    if not failed:
        return tuple(f"{place.repository}:{tag}" for place in places for tag in place.tags)
    kind = PushFailed if all(error.temporary for _, error in failed) else PushRefused
    words = " ".join(f"The image was not pushed to {name}: {error.message}" for name, error in failed)
    known = f" It is at {', '.join(there)}, as {image.digest}." if there else ""
    raise kind(words + known, hint=failed[0][1].hint)


async def _one(
    copy: Copy, image: BuiltImage, place: Elsewhere, report: Report, number: int, name: str, timeout: float
) -> LumperError | None:
    """Why it failed, or None."""
    report(Step(number, name, StepState.RUNNING, time.time()))
    try:
        async with asyncio.timeout(timeout):
            await copy(image, place, lambda line: report(Output(number, 1, time.time(), line)))
    except LumperError as exc:
        error: LumperError = exc
    except TimeoutError:
        error = BuildTimeout(f"It did not end within {span(timeout)}.", hint="Raise [worker] push_timeout.")
    else:
        report(Output(number, 1, time.time(), f"digest: {image.digest}"))
        report(Step(number, name, StepState.DONE, time.time()))
        return None
    report(Step(number, name, StepState.FAILED, time.time(), error.sentence))
    return error

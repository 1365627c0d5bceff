"""What an image that is built here is called, and where it is pushed to. Pure, but for the push itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from lumper.build.port import Engine, Login, Report
from lumper.build.pushing import push_image
from lumper.build.recipe.asked import reference_problem
from lumper.build.recipe.recipe import Recipe
from lumper.build.recipe.tag_templates import Moment
from lumper.build.replication import BuiltImage, Copy, Elsewhere, spread, tags_at, tags_by
from lumper.errors import Invalid
from lumper.model.images.image import LATEST, is_repository, is_tag

_PUSH_TIMEOUT = 3600.0  # seconds for one registry

CopyFrom = Callable[[str], Copy]
"""From a registry's HOST[:PORT] to what copies images from there."""


def full_name(text: str) -> str:
    """The name with its tag, as people write it at `docker build -t`. Raises Invalid.

    >>> full_name("app"), full_name("registry.example.com:5000/team/app:1.2")
    ('app:latest', 'registry.example.com:5000/team/app:1.2')
    """
    folder, slash, last = text.rpartition("/")
    last, colon, tag = last.partition(":")
    name = f"{folder}{slash}{last}"
    if (colon and not is_tag(tag)) or (reference_problem(name) and not is_repository(name)):
        raise Invalid(f"{text!r} is not the name of an image.", hint="Write [HOST/]NAME[:TAG], in lower case.")
    return f"{name}:{tag or LATEST}"


def recipe_tags(recipe: Recipe, moment: Moment) -> tuple[str, ...]:
    """The tags that the image would get in the registry."""
    return tags_by(recipe.tags, recipe, moment)


def push_names(recipe: Recipe, moment: Moment, given: Sequence[str]) -> list[str]:
    """HOST/REPOSITORY:TAG of all that is to be pushed: the names that were given, or what the recipe says.

    Raises Invalid if there is none, or one without a registry.
    """
    for name in given:
        if problem := reference_problem(name):
            raise Invalid(f"{problem}.", hint="For Docker Hub that is docker.io/NAME.")
    found = list(given)
    for place in () if given else recipe.asked.push:
        found += [f"{place.repository}:{tag}" for tag in tags_at(place, recipe, moment)]
    if not found:
        hint = "Name one: --tag HOST/REPOSITORY:TAG; or have lumper.toml do it: push of [build]."
        raise Invalid(
            "There is nothing to push to: no name was given, and the recipe names no other registry.", hint=hint
        )
    return list(dict.fromkeys(found))


async def push_here(
    engine: Engine, names: Sequence[str], logins: Mapping[str, Login], copy_from: CopyFrom, report: Report
) -> dict[str, str]:
    """Push the image that the engine has under the first name; it is copied from there to the others. Their digests.

    Raises PushFailed, PushRefused, EngineUnavailable, BuildTimeout.
    """
    first, *others = names
    host, repository, _ = _parts(first)
    login = logins.get(host)

    async def sign_in() -> Login | None:
        return login

    pushed = await push_image(engine, first, sign_in, report, timeout=_PUSH_TIMEOUT)
    places = [
        Elsewhere(place, tuple(_parts(name)[2] for name in group), logins.get(place.partition("/")[0]) or Login("", ""))
        for place, group in groupby(others, key=lambda name: name.rpartition(":")[0])
    ]
    held = BuiltImage(repository, pushed.digest, login or Login("", ""))
    await spread(copy_from(host), held, places, report, timeout=_PUSH_TIMEOUT)
    return dict.fromkeys(names, pushed.digest)


def _parts(name: str) -> tuple[str, str, str]:
    """Host, repository, tag."""
    place, _, tag = name.rpartition(":")
    host, _, repository = place.partition("/")
    return host, repository, tag

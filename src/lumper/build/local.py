"""The recipe of a work tree's commit, built into the local engine: the same checkout and request as on a worker."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lumper.build.capabilities import check
from lumper.build.checkout import CheckoutRequest, Mirrors
from lumper.build.contents import Checkout
from lumper.build.plan import plan_build
from lumper.build.port import Engine, Report
from lumper.build.recipe import RECIPE_FILE, Recipe, read_recipes
from lumper.build.tag_templates import Moment, wanted_tags
from lumper.errors import Invalid
from lumper.model.events import BuildJob
from lumper.model.image import branch_tags, image_tags, repository_name
from lumper.model.trigger import BRANCH_PREFIX, TAG_PREFIX


@dataclass(frozen=True)
class Here:
    """A work tree: the root of its repository, a ref that has the commit, the commit, and where it was cloned from."""

    root: Path
    ref: str
    commit: str
    origin: str = ""


async def build_here(
    here: Here, mirrors: Mirrors, engine: Engine, report: Report, names: Sequence[str] = ()
) -> list[str]:
    """Build the images of these names, or all of them; the names with tag under which the engine has them now.

    Raises LumperError: the first error ends it.
    """
    identity = hashlib.sha256(str(here.root).encode()).hexdigest()[:20]
    request = CheckoutRequest(identity, str(here.root), local=True, ref=here.ref, commit=here.commit)
    async with mirrors.checkout(request) as checkout:
        found = await read_recipes(checkout, here.root.name)
        await checkout.complete(found.source, lambda _: None)
        recipes = found.recipes
        known = {recipe.name: recipe for recipe in recipes}
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(name for name in known if name) or "none with a name"
            raise Invalid(f"{RECIPE_FILE} has no image {unknown[0]!r}.", hint=f"It has: {there}.")
        return [await _build(here, checkout, engine, report, known[name]) for name in names or known]


async def _build(here: Here, checkout: Checkout, engine: Engine, report: Report, recipe: Recipe) -> str:
    job = _job(here, recipe, checkout.commit)
    request = await plan_build(job, recipe, checkout, "localhost")
    image = f"{job.image}:{job.push_tag}"
    local = replace(request, id=uuid.uuid4().hex, image=image)
    await check(local, engine)
    archive = checkout.archive(recipe.context, local.dockerfile, folder=local.context_folder)
    await engine.build(local, archive, report)
    return image


def _job(here: Here, recipe: Recipe, commit: str) -> BuildJob:
    own = repository_name(here.root.name)
    return BuildJob(
        build_id=0,
        attempt=1,
        project_id="",
        project=here.root.name,
        url=here.origin or str(here.root),
        local=True,
        ref=here.ref,
        commit=commit,
        image=f"{own}/{recipe.image}" if recipe.image else own,
        push_tag=_tag(recipe, here.ref, commit),
        recipe=recipe.name,
    )


def _tag(recipe: Recipe, ref: str, commit: str) -> str:
    """The first of the tags that the image would get in the registry."""
    if recipe.tags is not None:
        found = wanted_tags(recipe.tags, recipe.flavor, Moment(ref, commit, datetime.now(UTC)))
    elif ref.startswith(TAG_PREFIX):
        found = image_tags(ref.removeprefix(TAG_PREFIX))
    else:
        found = branch_tags(ref.removeprefix(BRANCH_PREFIX))
    return found[0] if found else "local"

"""What the address of a page about images names, and whether whoever asks may have it."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from lumper.errors import Forbidden, Invalid, NotFound
from lumper.model.people.rights import Action
from lumper.registry.reference import Reference, parse_reference
from lumper.web.pages.site import IDENTITY


def reference_of(request: web.Request, action: Action = Action.PULL) -> Reference:
    """What the page is about. Raises NotFound, also for what may not be pulled; Forbidden for what may be, and no more.

    Nobody learns from the answer whether a repository is there that they may not pull.
    """
    text = request.match_info["reference"]
    try:
        reference = parse_reference(text)
    except Invalid as exc:
        raise nothing(text) from exc
    if not allowed(request, reference.repository, Action.PULL):
        raise nothing(text)
    if not allowed(request, reference.repository, action):
        raise Forbidden(f"You may not {action} in {reference.repository}.", hint="An administrator can grant it.")
    return reference


def nothing(text: str) -> NotFound:
    """There is no such image."""
    return NotFound(f"There is no image {text[:300]!r}.", hint="The list of images shows all.")


def allowed(request: web.Request, repository: str, action: Action) -> bool:
    """Whether whoever asks may do this there."""
    return request[IDENTITY].rights.allow(repository, action)


def page_of(reference: Reference | str) -> str:
    """The address of an image's or a repository's page."""
    return f"/images/{quote(str(reference), safe='/:@')}"

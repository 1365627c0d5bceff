"""The image that the path of a request names, if the sender may have it."""

from __future__ import annotations

from aiohttp import web

from lumper.errors import Forbidden, NotFound
from lumper.model.people.rights import Action
from lumper.registry.reference import Reference, parse_reference
from lumper.web.api.guard import identity_of


def reference_of(request: web.Request, name: str = "reference", action: Action = Action.PULL) -> Reference:
    """What `name` in the path means, where the sender may do this there. Raises Invalid, NotFound, Forbidden."""
    reference, rights = parse_reference(request.match_info[name]), identity_of(request).rights
    if not rights.allow(reference.repository, Action.PULL):
        raise NotFound(f"There is no image {reference.repository!r}.", hint="`lumper images` shows all.")
    if not rights.allow(reference.repository, action):
        hint = f"An admin can grant it: `lumper grant add NAME {reference.repository} --allow {action}`."
        raise Forbidden(f"You may not {action} in {reference.repository}.", hint=hint)
    return reference

"""A base image of our own registry that a build may not pull: its project has to be granted it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from lumper.build.engines.registry_words import DENIED

_IMAGE = re.compile(r"image (\S+?)/(\S+) cannot be fetched: (.*)", re.DOTALL)


def grant_hint(message: str, registries: Collection[str], project: str) -> str:
    """What opens the image to the project's builds; "" for images of registries that are not ours.

    The registry does not tell a repository that is not there from one that may not be read.

    >>> grant_hint("The base image own:5000/base/os:1 cannot be fetched: 403 Forbidden.", {"own:5000"}, "app")
    'If it is there, let the project pull it: `lumper grant add project:app base/os`.'
    """
    match = _IMAGE.search(message)
    if match is None or match[1] not in registries or not DENIED.search(match[3]):
        return ""
    repository = match[2].partition("@")[0].partition(":")[0]
    return f"If it is there, let the project pull it: `lumper grant add project:{project} {repository}`."

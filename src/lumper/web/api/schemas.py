"""What goes into the JSON API and comes out of it, as models; the API's description is made of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lumper.model.builds.build import Build
from lumper.web.api.openapi import like

MOST = 1000  # entries of a listing in one answer

Limit = Annotated[int, Field(ge=1, le=MOST)]
Days = Annotated[int | None, Field(ge=1, le=3660, description="Days until it expires; null for never.")]
Number = Annotated[int, Field(ge=0, lt=10**18)]
SHOWN_BUILD: Any = {"tag": str, "seconds": float | None, "position": int | None, "waits": str}
ShownBuild: Any = like(Build, "Build", **SHOWN_BUILD)


class Credentials(BaseModel):
    """How to log in at a git server."""

    username: str
    password: str


class Named(BaseModel):
    """What was removed or changed."""

    name: str

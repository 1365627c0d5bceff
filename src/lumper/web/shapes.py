"""What goes into the JSON API and comes out of it, as models; the API's description is made of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lumper.history.deliveries import RawDelivery
from lumper.model.build import Build
from lumper.model.deployment import Rollout
from lumper.model.image import Tag
from lumper.model.people import Role
from lumper.model.source import Project, Verdict
from lumper.web.openapi import like

MOST = 1000  # entries of a listing in one answer
HIDDEN = ("secret", "username", "password")  # of a project

Limit = Annotated[int, Field(ge=1, le=MOST)]
Number = Annotated[int, Field(ge=0, lt=10**18)]
PublicProject: Any = like(Project, "Project", without=HIDDEN)
PrivateProject: Any = like(
    Project, "ProjectWithSecret", without=HIDDEN[1:], hooks=dict[str, str], forge=str, steps=dict[str, list[str]]
)
ShownBuild: Any = like(Build, "Build", tag=str, seconds=float | None)
BuildWithRollout: Any = like(Build, "BuildWithRollout", tag=str, seconds=float | None, rollout=Rollout | None)
ShownTag: Any = like(Tag, "Tag", size=int)


ShownDelivery: Any = like(RawDelivery, "DeliveryWithBody", without=("body",), body=str)


class JudgedAgain(BaseModel):
    """What came of a replay."""

    verdict: Verdict
    reason: str
    builds: tuple[int, ...]


class ImageWithTags(BaseModel):
    """A repository: how it is pulled, and its tags."""

    name: str
    pull: str
    tags: list[ShownTag]


class Status(BaseModel):
    """What answers, and where people and engines reach it."""

    version: str
    public_url: str
    registry: str


class Credentials(BaseModel):
    """How to log in at a git server."""

    username: str
    password: str


class MadeToken(BaseModel):
    """An API token, shown this once."""

    name: str
    role: Role
    token: str


class Named(BaseModel):
    """What was removed or changed."""

    name: str


class NewProject(BaseModel):
    """The body of POST /api/v1/projects."""

    model_config = ConfigDict(extra="forbid")

    url: str
    name: str = ""
    repository: str = ""
    image: str = ""
    allow_local: bool = False


class NewSecret(BaseModel):
    """The body of PUT /api/v1/projects/{name}/secret; without a secret one is made."""

    model_config = ConfigDict(extra="forbid")

    secret: SecretStr | None = None


class NewToken(BaseModel):
    """The body of POST /api/v1/tokens."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role

"""What goes into the JSON API and comes out of it, as models; the API's description is made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lumper.history.deliveries import RawDelivery, StoredDelivery
from lumper.history.tokens import ApiToken
from lumper.model.build import Build
from lumper.model.deployment import Rollout
from lumper.model.image import Tag
from lumper.model.people import Role
from lumper.model.rights import Action
from lumper.model.source import Project, Verdict
from lumper.model.verification import Verification
from lumper.web.api.openapi import like

MOST = 1000  # entries of a listing in one answer
HIDDEN = ("username", "webhook")  # of a project

Limit = Annotated[int, Field(ge=1, le=MOST)]
Days = Annotated[int | None, Field(ge=1, le=3660, description="Days until it expires; null for never.")]
Number = Annotated[int, Field(ge=0, lt=10**18)]
PublicProject: Any = like(Project, "Project", without=HIDDEN)
_PRIVATE: Any = {"secret": str, "hooks": dict[str, str], "forge": str, "steps": dict[str, list[str]]}
PrivateProject: Any = like(Project, "ProjectWithSecret", without=HIDDEN, **_PRIVATE)
RenewedProject: Any = like(Project, "ProjectWithAnotherSecret", without=HIDDEN, **_PRIVATE, renewed=bool)
_SHOWN: Any = {"tag": str, "seconds": float | None, "position": int | None, "waits": str}
ShownBuild: Any = like(Build, "Build", **_SHOWN)
BuildWithRollout: Any = like(
    Build, "BuildWithRollout", **_SHOWN, rollout=Rollout | None, verification=Verification | None
)
ShownTag: Any = like(Tag, "Tag", size=int)


ShownDelivery: Any = like(RawDelivery, "DeliveryWithBody", without=("body",), body=str)


class JudgedAgain(BaseModel):
    """What came of a replay."""

    verdict: Verdict
    reason: str
    builds: tuple[int, ...]


def expiry(days: int | None) -> datetime | None:
    """When what is made now and lives for so long expires."""
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


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


class ShownGrant(BaseModel):
    """What is allowed in the repositories that fit a pattern."""

    repository: str
    actions: list[Action]


ShownToken: Any = like(ApiToken, "ApiToken", limits=list[ShownGrant] | None)


class MadeToken(BaseModel):
    """An API token, shown this once."""

    name: str
    role: Role | None
    owner: str
    token: str


class Me(BaseModel):
    """Who asks. Without `limits` their grants are all that they may do; with them, one of each has to allow it."""

    name: str
    role: Role
    grants: list[ShownGrant]
    limits: list[ShownGrant] | None


class MadeUser(BaseModel):
    """Who was let in, and as what."""

    name: str
    role: Role


class MadeRobot(BaseModel):
    """A robot and its token, shown this once."""

    name: str
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


class NewRules(BaseModel):
    """The body of PUT /api/v1/projects/{name}/rules: what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")

    tags: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    schedule: str = ""
    schedule_ref: str = ""
    reconcile: bool = True
    base_images: bool = False
    concurrency: int = 0
    weight: int = 1
    priority: int = 0
    labels: tuple[str, ...] = ()


class NewBuild(BaseModel):
    """The body of POST /api/v1/projects/{name}/builds: a tag, a branch, or the full name of a ref."""

    model_config = ConfigDict(extra="forbid")

    ref: str


class NewForge(BaseModel):
    """The body of PUT /api/v1/projects/{name}/forge; `forge` and `url` may be left out where the git URL tells."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr
    forge: str = ""
    url: str = ""


class Connected(BaseModel):
    """What came of it: `pings` tells that a first delivery comes without a push, `statuses` that commits have any."""

    forge: str
    forge_url: str
    hook: str
    pings: bool
    statuses: bool


class Looked(BaseModel):
    """How the project's webhook stands: there, off, elsewhere, gone or unknown, and why; `delivery` came last."""

    forge: str
    forge_url: str
    hook: str
    webhook: str
    words: str
    delivery: StoredDelivery | None


class NewSecret(BaseModel):
    """The body of PUT /api/v1/projects/{name}/secret; without a secret one is made."""

    model_config = ConfigDict(extra="forbid")

    secret: SecretStr | None = None


class NewUrl(BaseModel):
    """The body of PUT /api/v1/projects/{name}/url; without a URL it is that of now."""

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    allow_local: bool = False


class NewToken(BaseModel):
    """The body of POST /api/v1/tokens."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role | None = None
    repositories: list[str] = Field(default=[], max_length=100)
    allow: list[Action] = []
    days: Days = None


class NewUser(BaseModel):
    """The body of POST /api/v1/users."""

    model_config = ConfigDict(extra="forbid")

    name: str
    password: SecretStr
    role: Literal["admin", "user"] = "user"


class ChangedUser(BaseModel):
    """The body of PATCH /api/v1/users/{user}: what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["admin", "user"] | None = None
    disabled: bool | None = None


class NewPassword(BaseModel):
    """The body of PUT /api/v1/users/{user}/password."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr


class OwnPassword(BaseModel):
    """The body of PUT /api/v1/me/password."""

    model_config = ConfigDict(extra="forbid")

    old: SecretStr
    new: SecretStr


class NewRobot(BaseModel):
    """The body of POST /api/v1/robots."""

    model_config = ConfigDict(extra="forbid")

    name: str
    days: Days = None


class ChangedRobot(BaseModel):
    """The body of PATCH /api/v1/robots/{robot}."""

    model_config = ConfigDict(extra="forbid")

    disabled: bool


class NewRobotToken(BaseModel):
    """The body of POST /api/v1/robots/{robot}/token."""

    model_config = ConfigDict(extra="forbid")

    days: Days = None


class NewGrant(BaseModel):
    """The body of POST /api/v1/grants."""

    model_config = ConfigDict(extra="forbid")

    account: str
    repository: str
    allow: list[Action] = Field(min_length=1)

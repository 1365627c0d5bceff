"""What the doors need of the roles, which lie above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lumper.forges.port import Parsed, Request
from lumper.forges.rules import Decision
from lumper.model.builds.build import Build
from lumper.model.source import Project, Verdict


@dataclass(frozen=True)
class Accepted:
    """What was stored of a delivery. `builds` are the ids of the builds that it started."""

    verdict: Verdict
    reason: str
    builds: tuple[int, ...] = ()


class Receiver(Protocol):
    """What keeps deliveries that were verified."""

    async def project(self, name: str) -> tuple[Project, str] | None:
        """The project of this name with the secret that signs its deliveries, if there is one."""

    async def projects_like(self, repository: str) -> Sequence[tuple[Project, str]]:
        """The projects whose `repository` is this name or ends in "/" and this name, in any case; more do no harm.

        With each comes the secret that signs its deliveries. "" asks for all of them.
        """

    async def accept(
        self, project: Project, forge: str, request: Request, parsed: Parsed, decision: Decision
    ) -> Accepted:
        """Keep the verified delivery and start its builds, durably, in one transaction. A second time: DUPLICATE."""


class Starter(Protocol):
    """Starts builds that somebody asks for."""

    async def start(self, project: Project, name: str, who: str) -> Build:
        """Build a tag, a branch, or a ref by its full name. Raises NotFound, Invalid, SourceError."""


class Connection(Protocol):
    """What came of connecting a project with its forge."""

    @property
    def project(self) -> Project:
        """The project as it is now."""

    @property
    def pings(self) -> bool:
        """Whether a delivery comes without a push."""

    @property
    def statuses(self) -> bool:
        """Whether the forge hears of builds."""


class Look(Protocol):
    """How a webhook stands at its forge."""

    @property
    def state(self) -> str:
        """In a word: there, off, elsewhere, gone or unknown."""

    @property
    def words(self) -> str:
        """In a sentence."""


class ForgeConnections(Protocol):
    """Speaks with forges."""

    async def look(self, project: Project) -> Look:
        """Ask the forge how the webhook stands that Lumper has made there."""

    async def connect(self, project: Project, forge: str, url: str, token: str) -> Connection:
        """Make the webhook and keep the token. Raises Invalid, ForgeError."""

    async def renew(self, project: Project) -> bool:
        """Give the webhook at the forge the secret of now; whether Lumper has made one there. Raises ForgeError."""

    async def forget(self, project: Project) -> None:
        """Remove the webhook that Lumper has made, if the forge lets it."""

    async def disconnect(self, project: Project) -> Project:
        """Forget the token."""


class DeliveryReplay(Protocol):
    """What keeps deliveries and starts builds."""

    async def again(self, delivery_id: int, project: Project, decision: Decision) -> Accepted:
        """Start those builds of a kept delivery that are missing, and keep the new verdict. Raises NotFound."""

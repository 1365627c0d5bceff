"""What the application is made of, and how far it is open: both come from wiring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lumper.forges.all import Forges
from lumper.line.history import History
from lumper.metrics import Metrics
from lumper.model.links import Links
from lumper.model.people.rights import NOTHING, Rights
from lumper.notify.port import MailReader
from lumper.queue.port import Broker
from lumper.registry.attest.store import Attestations
from lumper.registry.registry import Registry
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.auth.signed_tokens import Keys
from lumper.web.ports import ForgeConnections, Receiver, Starter
from lumper.web.replayer import Replayer


@dataclass(frozen=True)
class Parts:
    """What requests are passed on to."""

    history: History
    broker: Broker
    registry: Registry
    keys: Keys
    receiver: Receiver
    forges: Forges
    replayer: Replayer
    starter: Starter
    desk: ForgeConnections
    mail: MailReader
    links: Links
    metrics: Metrics
    attestations: Attestations


@dataclass(frozen=True)
class Settings:
    """How far the application is open.

    `data` is the data folder, whose disk is watched; repositories below the folders `allow_local` may be named by their
    path. `public_url` is where the registry says that its tokens are had, "" for the address that a client asks for;
    requests from `trusted_proxies`, networks, say themselves whom they came from. `anonymous` is what the registry
    allows to who has no account. `alone`: this is a registry and no more; the pages do not speak of builds and hosts.
    """

    data: Path
    allow_local: tuple[Path, ...]
    public_url: str = ""
    trusted_proxies: Sequence[str] = ()
    anonymous: Rights = NOTHING
    limits: RateLimits | None = None
    alone: bool = False

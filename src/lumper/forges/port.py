"""The port that every forge implements. Methods only compute values and may be called from any thread.

The errors are HookError for deliveries and ForgeError for API requests, both in `errors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lumper.forges.guide import Guide
from lumper.forges.statuses import Status
from lumper.model.source import Push

Method = Literal["GET", "DELETE"]


@dataclass(frozen=True)
class Request:
    """A webhook request as received. Header names are lower case; `body` is the raw bytes."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Parsed:
    """The content of a delivery. `repository` is the name at the forge; `pushes` is empty for events that move no ref.

    `ignored` says why there is nothing to do, if so.
    """

    event: str
    delivery_id: str
    repository: str
    urls: tuple[str, ...]
    pushes: tuple[Push, ...]
    ignored: str = ""


@dataclass(frozen=True)
class Repository:
    """A repository at a forge: `base` is the forge's URL without a final slash, `token` opens its API."""

    base: str
    name: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class ApiRequest:
    """A request to a forge's API, with a JSON body. `headers` contain the token."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)


class Forge(Protocol):
    """A kind of forge.

    `hosts` are public instances; `words` mark the host names of other instances, `paths` the paths of their git URLs.
    `secret_headers` of a delivery are never stored. `pings`: a new webhook delivers once without a push, by itself or
    by `ping`. `statuses`: commits have statuses.
    """

    name: str
    guide: Guide
    hosts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    secret_headers: frozenset[str] = frozenset()
    pings: bool = False
    statuses: bool = False

    def verify(self, request: Request, secret: str) -> bool:
        """Whether the request was signed with `secret`: over the raw bytes, in constant time. "" never verifies."""

    def parse(self, request: Request) -> Parsed:
        """Read a delivery, signed or not. Raises HookMalformed, for any bytes."""

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """Make a webhook that delivers pushes of tags and branches to the URL `hook`."""

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest | None:
        """Get or remove the webhook with this id; None if the API cannot."""

    def ping(self, at: Repository, made: Mapping[str, Any]) -> ApiRequest | None:
        """Ask for a test delivery of the webhook that was `made`; None if the API has none."""
        return None

    def set_status(self, at: Repository, commit: str, ref: str, status: Status) -> ApiRequest | None:
        """Set a status of the commit; None if the forge has none."""
        return None

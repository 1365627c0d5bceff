"""The port that every forge implements: verify and parse one delivery. No input or output, only values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lumper.model.source import Push


@dataclass(frozen=True)
class Request:
    """A webhook request as it came. Header names are lower case; `body` is the raw bytes."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Parsed:
    """What a delivery says. `repository` is the name at the forge; `pushes` is empty for any event that moved no ref.

    `ignored` tells a person why there is nothing to do, when that is so.
    """

    event: str
    delivery_id: str
    repository: str
    urls: tuple[str, ...]
    pushes: tuple[Push, ...]
    ignored: str = ""


class Forge(Protocol):
    """One kind of forge. Methods only compute, and are safe to call from any thread."""

    @property
    def name(self) -> str:
        """The name in URLs and on the command line, such as `github`."""

    def verify(self, request: Request, secret: str) -> bool:
        """Whether the request was signed with `secret`: over the raw bytes, in constant time. "" never verifies."""

    def parse(self, request: Request) -> Parsed:
        """Read the delivery, signed or not. Raises HookMalformed, for any bytes whatsoever."""

"""Other programs that are told what happens in the registry: webhooks, and the calls to them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from lumper.model.addresses import AddressScope, place_of
from lumper.model.globs import fits, is_repository_glob
from lumper.model.images.activity import Activity, Actor, AuditAction

ACTIONS = (AuditAction.PUSH, AuditAction.TAG, AuditAction.UNTAG, AuditAction.DELETE)
"""What a webhook can be told of."""

PING = "ping"
"""The action of a call that only tries whether the receiver answers."""


class Format(StrEnum):
    """What a call looks like: Lumper's own, or the envelope of distribution's notifications, which has many readers."""

    LUMPER = "lumper"
    DISTRIBUTION = "distribution"


class CallState(StrEnum):
    """What became of a call; a dead one was given up."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True)
class Webhook:
    """Whom to tell, and what of.

    `repositories` is a glob; `private` lets it lead to addresses that the internet does not have. The secret that
    signs is not in here.
    """

    id: int
    url: str
    actions: tuple[AuditAction, ...]
    repositories: str
    format: Format
    private: bool
    created_at: datetime

    def wants(self, one: Activity) -> bool:
        """Whether it is told of this."""
        return one.action in self.actions and fits(self.repositories, one.repository)


@dataclass(frozen=True)
class Call:
    """One event on its way to one webhook. `event` is what body_of makes a body of; `tries` counts those that failed.

    The id of the event stays the same however often it is sent, also to other webhooks.
    """

    id: int
    webhook_id: int
    event: dict[str, Any]
    state: CallState
    tries: int
    next_at: datetime
    error: str
    created_at: datetime


def event_of(one: Activity, media_type: str = "", size: int = 0) -> dict[str, Any]:
    """What is told of an activity. `media_type` and `size` are the manifest's, as far as it is still there."""
    return {
        "id": str(one.id),
        "at": one.at.isoformat(),
        "action": one.action.value,
        "repository": one.repository,
        "tag": one.tag,
        "digest": one.digest,
        "before": one.before,
        "media_type": media_type,
        "size": size,
        "actor": {"name": one.actor.name, "role": one.actor.role},
    }


def ping_of(number: str, at: datetime, actor: Actor) -> dict[str, Any]:
    """An event that tells of nothing but who has asked for it."""
    nothing = dict.fromkeys(("repository", "tag", "digest", "before", "media_type"), "")
    return {
        "id": number,
        "at": at.isoformat(),
        "action": PING,
        **nothing,
        "size": 0,
        "actor": {"name": actor.name, "role": actor.role},
    }


def may_call(address: str, *, private: bool) -> bool:
    """Whether a webhook may lead to this IP address; `private`: also into networks of one's own, and to loopback."""
    place = place_of(ipaddress.ip_address(address.partition("%")[0]))
    return place is AddressScope.PUBLIC or (private and place is not AddressScope.NEVER)


def never_called(host: str, addresses: Sequence[str], *, private: bool) -> str:
    """Why a webhook at a host with these addresses would never be called, and what to do; or "".

    >>> never_called("ci.example.org", ["10.1.2.3", "93.184.216.34"], private=False)
    ''
    """
    if not addresses or any(may_call(address, private=private) for address in addresses):
        return ""
    there = f"{host} is {addresses[0]}" if addresses[0] != host else host
    if any(may_call(address, private=True) for address in addresses):
        return f"{there}, an address that only this machine or your own network has: say `--private` if that is meant"
    return f"{there}, an address that is never called"


def problems(url: str, actions: tuple[str, ...], repositories: str) -> list[str]:
    """What is wrong with a webhook that somebody wants to add."""
    found = []
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= 2000
        if not good or not plain:
            found.append("the URL must begin with http:// or https:// and a host")
        elif parts.username is not None or parts.password is not None:
            found.append("the URL must not have a password in it: calls are signed, or put a token into its path")
    except ValueError:
        found.append("the URL is not one")
    if not actions:
        found.append(f"name at least one of {', '.join(ACTIONS)}")
    if not is_repository_glob(repositories):
        found.append(f"{repositories!r} is no glob for repositories, such as team/*")
    return found

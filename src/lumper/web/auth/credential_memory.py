"""Credentials that were right a moment ago, by a keyed hash of them: they themselves are not kept."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lumper.accounts.accounts import Accounts

_REMEMBERED = 4096

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Entry:
    value: object
    until: float
    version: int


class CredentialMemory:
    """What they stand for, until its time is over or any account changes."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def key(self, *parts: str) -> bytes:
        """The keyed hash under which credentials are kept."""
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._salt, digest_size=32).digest()

    def recall(self, key: bytes, kind: type[_T]) -> _T | None:
        """What they stand for, if that is known, and of this kind."""
        entry = self._entries.get(key)
        if entry is None or entry.version != self._accounts.version or self._clock() >= entry.until:
            return None
        return entry.value if isinstance(entry.value, kind) else None

    def keep(self, key: bytes, value: object, seconds: float, version: int) -> None:
        """Remember it for so long; `version` is that of the accounts before they were asked."""
        self._entries[key] = _Entry(value, self._clock() + seconds, version)
        if len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)

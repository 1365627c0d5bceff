"""API tokens: of a person, and no more than they may; of a robot; of a role; and the one that begins it all."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, select, update

from lumper.accounts.grants import TOPIC, Grants, grants_of, tell, told
from lumper.errors import Conflict, Invalid, NotFound, StorageError
from lumper.model.images.activity import SERVER, Actor, AuditAction
from lumper.model.people.people import GRANTED, Identity, Role, grants_of_role
from lumper.model.people.rights import Action, Grant
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed
from lumper.store.tables import tokens, users
from lumper.system.full_disk import storage_error
from lumper.system.secret_files import made_once

TOKEN_PREFIX = "lmp_"  # noqa: S105 - so that people and secret scanners know one when they see it
BUILD_PREFIX = "lmb_"  # before the signed token of a build
SETUP_SECONDS = 24 * 3600
ROBOT = "robot:"  # before a robot's name: no legal name of a token, so nobody else's
_SETUP = "(setup)"  # likewise
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}")
_USED = timedelta(minutes=5)  # how exactly it is known when a token was used last


@dataclass(frozen=True)
class ApiToken:
    """What is known of an API token; the token itself is not kept.

    It is its `owner`'s or, without one, has a `role`. With `limits` it reaches no further than those.
    """

    name: str
    role: Role | None
    created_at: datetime
    expires_at: datetime | None = None
    owner: str = ""
    limits: tuple[Grant, ...] | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class Authentication:
    """Whose credentials these are, and until when they are good."""

    identity: Identity
    until: datetime | None = None


class Tokens:
    """The table of tokens. `version` grows with every change of accounts, for those who remember what was verified."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.grants = Grants(database)
        self.version = 0
        database.on_change(TOPIC, self._changed)

    def _changed(self, _name: str | None) -> None:
        self.version += 1

    async def tell(self, action: AuditAction, actor: Actor, detail: str = "") -> None:
        """Keep a sign-in, or a refused one, in the activity log; if that cannot be, nobody is kept out for it."""
        with suppress(StorageError):
            await tell(self._database, action, actor, detail)

    async def create_token(
        self,
        name: str,
        role: Role | None,
        expires_at: datetime | None = None,
        *,
        owner: str = "",
        limits: Sequence[Grant] | None = None,
        actor: Actor = SERVER,
    ) -> str:
        """Make an API token and return it: it is shown this once. Raises Invalid, Conflict if the name is taken."""
        check_name(name)
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        async with self._database.write() as connection:
            if (await connection.execute(select(tokens.c.name).where(tokens.c.name == name))).first():
                raise Conflict(f"There is a token {name} already.", hint="Choose another name, or remove that one.")
            row = token_row(name, token, role, expires_at) | {"owner": owner, "limits": _limits_to_row(limits)}
            await connection.execute(insert(tokens), row)
            await told(connection, AuditAction.TOKEN, name, f"added for {owner or role}", actor)
        return token

    async def verify_token(self, token: str) -> Authentication | None:
        """Whom the token lets in, if it is one, has not expired, and its owner may come in."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        found = await self._holder(token_hash(token))
        if found is not None:
            await self._used(token_hash(token))
        return found

    async def _holder(self, hashed: str) -> Authentication | None:
        query = (
            select(tokens, users.c.role.label("owner_role"), users.c.disabled)
            .outerjoin(users, users.c.name == tokens.c.owner)
            .where(tokens.c.token_hash == hashed, tokens.c.name != _SETUP)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
            if row is None or row.disabled or (row.expires_at is not None and row.expires_at <= datetime.now(UTC)):
                return None
            if row.owner and row.owner_role is None:
                return None
            return Authentication(await _identity(connection, row), row.expires_at)

    async def _used(self, hashed: str) -> None:
        now = datetime.now(UTC)
        old = (tokens.c.last_used_at.is_(None)) | (tokens.c.last_used_at < now - _USED)
        here = (tokens.c.token_hash == hashed) & old
        async with self._database.read() as connection:
            due = (await connection.execute(select(tokens.c.name).where(here))).first() is not None
        if due:
            with suppress(StorageError):  # a full disk is no reason to let nobody in
                async with self._database.write() as connection:
                    await connection.execute(update(tokens).where(here).values(last_used_at=now))

    async def tokens(self, owner: str | None = None) -> list[ApiToken]:
        """The API tokens by name, of one owner ("": of roles) or of all; those of robots are theirs alone."""
        query = select(tokens).where(tokens.c.name != _SETUP, tokens.c.name.not_like(ROBOT + "%"))
        if owner is not None:
            query = query.where(tokens.c.owner == owner)
        async with self._database.read() as connection:
            return [_token_from_row(row) for row in await connection.execute(query.order_by(tokens.c.name))]

    async def delete_token(self, name: str, *, owner: str | None = None, actor: Actor = SERVER) -> None:
        """Revoke an API token, if given only one of this owner's. Raises NotFound."""
        query = delete(tokens).where(tokens.c.name == name, tokens.c.name != _SETUP)
        if owner is not None:
            query = query.where(tokens.c.owner == owner)
        async with self._database.write() as connection:
            if name.startswith(ROBOT) or (await connection.execute(query)).rowcount == 0:
                raise NotFound(f"There is no token {name}.", hint="`lumper token list` shows all.")
            await told(connection, AuditAction.TOKEN, name, "removed", actor)

    async def ensure_token(self, name: str, role: Role, file: Path) -> str:
        """The token in `file`, made if need be, which only its owner can read; it has this name and role from now."""
        token = await asyncio.to_thread(make_token, file)
        known = await self._holder(token_hash(token))
        if known is None or (known.identity.name, known.identity.role) != (name, role):
            async with self._database.write() as connection:
                await connection.execute(
                    delete(tokens).where((tokens.c.name == name) | (tokens.c.token_hash == token_hash(token)))
                )
                await connection.execute(insert(tokens), token_row(name, token, role, None))
                changed(connection, TOPIC, name)
        return token

    async def create_setup_token(self, seconds: int = SETUP_SECONDS) -> str:
        """A token that lets its bearer in as admin once, within `seconds`. The one before it is void."""
        token = secrets.token_urlsafe(32)
        row = token_row(_SETUP, token, Role.ADMIN, datetime.now(UTC) + timedelta(seconds=seconds))
        async with self._database.write() as connection:
            await connection.execute(delete(tokens).where(tokens.c.name == _SETUP))
            await connection.execute(insert(tokens), row)
        return token

    async def is_setup_token(self, token: str) -> bool:
        """Whether this is the setup token, which stays."""
        async with self._database.read() as connection:
            return (await connection.execute(select(tokens.c.name).where(*_setup(token)))).first() is not None

    async def redeem_setup_token(self, token: str) -> bool:
        """Whether this is the setup token; it is not afterwards."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(tokens).where(*_setup(token)))).rowcount == 1


def _setup(token: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions for the row of the setup token, if this is it."""
    known = tokens.c.token_hash == token_hash(token)
    return tokens.c.name == _SETUP, known, tokens.c.expires_at > datetime.now(UTC)


async def _identity(connection: AsyncConnection, row: Row[Any]) -> Identity:
    """A token with limits is no admin, whoever its owner: it reaches repositories only."""
    credential, limits = f"token:{row.token_hash}", _limits_from_row(row.limits)
    role = Role(row.owner_role or row.role)
    own = await grants_of(connection, row.owner) if role in GRANTED else ()
    name = row.owner or row.name
    if limits is None:
        return Identity(name, role, own, None, credential, account=bool(row.owner))
    return Identity(name, Role.USER, grants_of_role(role) + own, limits, credential, account=bool(row.owner))


def check_name(name: str) -> None:
    """Raise Invalid for a name that no account and no token may have."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not a name: at most 64 letters, digits, and . _ @ -, a letter or digit first.")


def token_hash(token: str) -> str:
    """A plain hash is enough, and quick: the token has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def token_row(name: str, token: str, role: Role | None, expires_at: datetime | None) -> dict[str, object]:
    """The row of a new token that has no owner."""
    return {
        "name": name,
        "token_hash": token_hash(token),
        "owner": "",
        "role": role or "",
        "created_at": datetime.now(UTC),
        "expires_at": expires_at,
    }


def _limits_to_row(limits: Iterable[Grant] | None) -> list[tuple[str, list[str]]] | None:
    return None if limits is None else [(each.repository, sorted(each.actions)) for each in limits]


def _limits_from_row(limits: list[tuple[str, list[str]]] | None) -> tuple[Grant, ...] | None:
    if limits is None:
        return None
    return tuple(Grant(pattern, frozenset(map(Action, actions))) for pattern, actions in limits)


def _token_from_row(row: Row[Any]) -> ApiToken:
    return ApiToken(
        row.name,
        Role(row.role) if row.role else None,
        row.created_at,
        row.expires_at,
        row.owner,
        _limits_from_row(row.limits),
        row.last_used_at,
    )


def make_token(file: Path) -> str:
    """Read the token, or make one. Raises StorageFull, StorageError."""
    try:
        content = made_once(file, lambda: f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}\n".encode("ascii"))
        file.chmod(0o600)
        token = content.decode("ascii").strip()
    except OSError as exc:
        raise storage_error(exc, f"The token file {file} cannot be used: {exc}.") from exc
    except UnicodeDecodeError as exc:
        raise StorageError(f"The token file {file} cannot be used: {exc}.") from exc
    if not token.startswith(TOKEN_PREFIX) or len(token) < 40:
        raise StorageError(
            f"{file} does not hold a token.", hint="Remove it; Lumper makes a new one at the next start."
        )
    return token

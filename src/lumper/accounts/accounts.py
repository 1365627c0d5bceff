"""Accounts: people with passwords, and robots with a token."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, Row, delete, insert, select, update

from lumper.accounts.grants import PROJECT, grants_of, told
from lumper.accounts.tokens import (
    BUILD_PREFIX,
    ROBOT,
    TOKEN_PREFIX,
    ApiToken,
    Authentication,
    Tokens,
    check_name,
    token_row,
)
from lumper.errors import Conflict, Invalid, NotFound
from lumper.model.builds.build import BuildState
from lumper.model.images.activity import SERVER, Actor, AuditAction
from lumper.model.images.image import private_tag
from lumper.model.people.people import Identity, Role
from lumper.model.people.rights import Action, Grant
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.tables import builds, grants, tokens, users

__all__ = ["BUILD_PREFIX", "TOKEN_PREFIX", "Accounts", "ApiToken", "Authentication", "Robot", "User", "check_new_user"]

_MINIMUM = 8  # characters of a password; NIST SP 800-63B, 5.1.1.2
_AT_ONCE = 1  # passwords hashed at the same time
_MEMORY, _PASSES = 9 << 10, 5  # KiB, beside what a registry takes. OWASP, Password Storage Cheat Sheet, argon2id: 9 MiB
# and four passes are as strong as 19 MiB and two.
_PERSONS = (Role.ADMIN, Role.OPERATOR, Role.USER)


@dataclass(frozen=True)
class User:
    """A person with a password."""

    name: str
    role: Role
    created_at: datetime
    disabled: bool = False


@dataclass(frozen=True)
class Robot:
    """A program with a token, which is nobody's."""

    name: str
    created_at: datetime
    disabled: bool
    expires_at: datetime | None
    last_used_at: datetime | None


class Accounts(Tokens):
    """The tables of users and tokens."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._hasher = PasswordHasher(memory_cost=_MEMORY, time_cost=_PASSES, parallelism=1)
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        self._decoy = ""

    async def create_user(self, name: str, password: str, role: Role = Role.ADMIN, actor: Actor = SERVER) -> None:
        """Make a user. Raises Invalid for a bad name or a short password, Conflict if there is one of this name."""
        check_name(name)
        _check_person(role)
        password_hash = await self._hashed(password)
        async with self._database.write() as connection:
            await _insert(connection, name, password_hash, role, actor)

    async def change_user(
        self, name: str, *, role: Role | None = None, disabled: bool | None = None, actor: Actor = SERVER
    ) -> User:
        """Give a person another role, or keep them out for a while. Raises NotFound, Invalid."""
        if role is not None:
            _check_person(role)
        values = {key: value for key, value in {"role": role, "disabled": disabled}.items() if value is not None}
        if not values:
            raise Invalid("Nothing is to be changed.", hint="Give a role, or whether they are kept out.")
        words = [str(role or ""), "" if disabled is None else "kept out" if disabled else "let in again"]
        await self._change(name, values, ", ".join(filter(None, words)), actor)
        return await self._user(name)

    async def _change(self, name: str, values: dict[str, Any], detail: str, actor: Actor) -> None:
        here = (users.c.name == name) & (users.c.role != Role.ROBOT)
        async with self._database.write() as connection:
            if (await connection.execute(update(users).where(here).values(values))).rowcount == 0:
                raise NotFound(f"There is no user {name}.", hint="`lumper user list` shows who there is.")
            await told(connection, AuditAction.USER, name, detail, actor)

    async def _user(self, name: str) -> User:
        row = await self._row(name)
        if row is None:
            raise NotFound(f"There is no user {name}.")
        return _user_from_row(row)

    async def set_password(self, name: str, password: str, actor: Actor = SERVER) -> None:
        """Give a user another password; sessions that were opened before it end. Raises NotFound, Invalid."""
        password_hash = await self._hashed(password)
        await self._change(name, {"password_hash": password_hash}, "another password", actor)

    async def verify_password(self, name: str, password: str) -> Authentication | None:
        """The user, if the password is right. Takes as long for a name that is not there."""
        row = await self._row(name)
        known = row is not None and bool(row.password_hash)
        expected = row.password_hash if row is not None and known else await self._decoy_hash()
        async with self._hashing:
            right = await asyncio.to_thread(self._matches, expected, password)
        if row is None or not (known and right) or row.disabled:
            return None
        return await self._verified(row)

    async def still(self, name: str, credential: str) -> Authentication | None:
        """Who they are now that have once come in as `name` by `credential`; None if it lets them in no more."""
        kind, _, proof = credential.partition(":")
        if kind == "token":
            found = await self._holder(proof)
            return found if found is not None and found.identity.name == name else None
        row = await self._row(name) if kind == "password" else None
        if row is None or row.disabled or not secrets.compare_digest(_fingerprint(row), proof):
            return None
        return await self._verified(row)

    async def build(self, build_id: int, attempt: int) -> Identity | None:
        """What an attempt that has not ended may do: its repository, and what its project was granted."""
        query = select(builds.c.image, builds.c.project, builds.c.state).where(
            builds.c.id == build_id, builds.c.attempt == attempt
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
            if row is None or BuildState(row.state).final:
                return None
            granted = await grants_of(connection, PROJECT + row.project)
        readable = tuple(Grant(each.repository, frozenset({Action.PULL})) for each in granted)
        own = Grant(row.image, frozenset({Action.PULL, Action.PUSH}))
        return Identity(
            private_tag(build_id, attempt), Role.BUILD, (own, *readable), None, f"build:{build_id}:{attempt}"
        )

    async def users(self) -> list[User]:
        """All users by name."""
        query = select(users).where(users.c.role != Role.ROBOT).order_by(users.c.name)
        async with self._database.read() as connection:
            return [_user_from_row(row) for row in await connection.execute(query)]

    async def has_admin(self) -> bool:
        """Whether a user is an admin and may sign in."""
        return any(user.role is Role.ADMIN and not user.disabled for user in await self.users())

    async def delete_user(self, name: str, actor: Actor = SERVER) -> None:
        """Remove a user with their tokens and grants. Raises NotFound."""
        await self._delete(name, users.c.role != Role.ROBOT, AuditAction.USER, actor)

    async def _delete(self, name: str, kind: ColumnElement[bool], action: AuditAction, actor: Actor) -> None:
        async with self._database.write() as connection:
            if (await connection.execute(delete(users).where(users.c.name == name, kind))).rowcount == 0:
                raise NotFound(f"There is no {action} {name}.", hint=f"`lumper {action} list` shows all.")
            await connection.execute(delete(tokens).where(tokens.c.owner == name))
            await connection.execute(delete(grants).where(grants.c.account == name))
            await told(connection, action, name, "removed", actor)

    async def create_robot(self, name: str, expires_at: datetime | None = None, actor: Actor = SERVER) -> str:
        """Make a robot and return its token: it is shown this once. Raises Invalid, Conflict."""
        check_name(name)
        async with self._database.write() as connection:
            await _insert(connection, name, "", Role.ROBOT, actor)
            return await _new_token(connection, name, expires_at)

    async def rotate_robot(self, name: str, expires_at: datetime | None = None, actor: Actor = SERVER) -> str:
        """Another token for a robot, good for as long as the one before it was, which is void. Raises NotFound."""
        async with self._database.write() as connection:
            here = (users.c.name == name) & (users.c.role == Role.ROBOT)
            if (await connection.execute(select(users.c.name).where(here))).first() is None:
                raise NotFound(f"There is no robot {name}.", hint="`lumper robot list` shows all.")
            gone = (
                delete(tokens).where(tokens.c.name == ROBOT + name).returning(tokens.c.created_at, tokens.c.expires_at)
            )
            before = (await connection.execute(gone)).first()
            if expires_at is None and before is not None and before.expires_at is not None:
                expires_at = datetime.now(UTC) + (before.expires_at - before.created_at)
            await told(connection, AuditAction.ROBOT, name, "another token", actor)
            return await _new_token(connection, name, expires_at)

    async def disable_robot(self, name: str, *, disabled: bool, actor: Actor = SERVER) -> None:
        """Keep a robot out, or let it in again. Raises NotFound."""
        here = (users.c.name == name) & (users.c.role == Role.ROBOT)
        async with self._database.write() as connection:
            if (await connection.execute(update(users).where(here).values(disabled=disabled))).rowcount == 0:
                raise NotFound(f"There is no robot {name}.", hint="`lumper robot list` shows all.")
            await told(connection, AuditAction.ROBOT, name, "kept out" if disabled else "let in again", actor)

    async def robots(self) -> list[Robot]:
        """All robots by name."""
        token = tokens.alias()
        query = (
            select(users, token.c.expires_at, token.c.last_used_at)
            .outerjoin(token, token.c.name == ROBOT + users.c.name)
            .where(users.c.role == Role.ROBOT)
            .order_by(users.c.name)
        )
        async with self._database.read() as connection:
            return [
                Robot(row.name, row.created_at, row.disabled, row.expires_at, row.last_used_at)
                for row in await connection.execute(query)
            ]

    async def delete_robot(self, name: str, actor: Actor = SERVER) -> None:
        """Remove a robot with its token and its grants. Raises NotFound."""
        await self._delete(name, users.c.role == Role.ROBOT, AuditAction.ROBOT, actor)

    async def _verified(self, row: Row[Any]) -> Authentication:
        async with self._database.read() as connection:
            own = await grants_of(connection, row.name) if row.role == Role.USER else ()
        credential = f"password:{_fingerprint(row)}"
        return Authentication(Identity(row.name, Role(row.role), own, None, credential, account=True))

    async def _row(self, name: str) -> Row[Any] | None:
        async with self._database.read() as connection:
            return (await connection.execute(select(users).where(users.c.name == name))).first()

    async def _hashed(self, password: str) -> str:
        _check_password(password)
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password.encode("utf-8", "surrogatepass"))

    async def _decoy_hash(self) -> str:
        if not self._decoy:
            self._decoy = await self._hashed(secrets.token_urlsafe(16))
        return self._decoy

    def _matches(self, expected: str, password: str) -> bool:
        try:
            return self._hasher.verify(expected, password.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False


def check_new_user(name: str, password: str) -> None:
    """Raise Invalid for a bad name or a short password, as `create_user` does."""
    check_name(name)
    _check_password(password)


async def _insert(connection: AsyncConnection, name: str, password_hash: str, role: Role, actor: Actor) -> None:
    taken = (await connection.execute(select(users.c.role).where(users.c.name == name))).scalar()
    if taken is not None:
        kind = "robot" if taken == Role.ROBOT else "user"
        raise Conflict(f"There is a {kind} {name} already.")
    row = {"name": name, "password_hash": password_hash, "role": role, "created_at": datetime.now(UTC)}
    await connection.execute(insert(users), row)
    await told(
        connection, AuditAction.ROBOT if role is Role.ROBOT else AuditAction.USER, name, f"added as {role}", actor
    )


async def _new_token(connection: AsyncConnection, robot: str, expires_at: datetime | None) -> str:
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = token_row(ROBOT + robot, token, None, expires_at) | {"owner": robot}
    await connection.execute(insert(tokens), row)
    return token


def _check_person(role: Role) -> None:
    if role not in _PERSONS:
        raise Invalid(f"A person is admin or user, not {role}.")


def _check_password(password: str) -> None:
    if len(password) < _MINIMUM:
        raise Invalid(f"A password has at least {_MINIMUM} characters.")
    if password.startswith((TOKEN_PREFIX, BUILD_PREFIX)):
        raise Invalid(f"A password does not begin with {password[:4]}: that is how tokens are told from it.")


def _fingerprint(row: Row[Any]) -> str:
    """What changes with the password."""
    return hashlib.sha256(row.password_hash.encode()).hexdigest()[:16]


def _user_from_row(row: Row[Any]) -> User:
    return User(row.name, Role(row.role), row.created_at, row.disabled)

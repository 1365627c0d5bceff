"""People and programs that may sign in: users with passwords, API tokens, and the link that begins it all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Row, delete, insert, select, update

from lumper.errors import Conflict, Invalid, NotFound, StorageError
from lumper.history.database import Database, changed
from lumper.history.tables import tokens, users
from lumper.model.people import Role

TOKEN_PREFIX = "lmp_"  # noqa: S105 - so that people and secret scanners know one when they see it
SETUP_SECONDS = 24 * 3600
_TOPIC = "accounts"
_SETUP = "(setup)"  # not a legal name, so nobody else's
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}")
_MINIMUM = 8  # characters of a password; NIST SP 800-63B, 5.1.1.2
_AT_ONCE = 2  # passwords hashed at the same time: each takes 64 MiB


@dataclass(frozen=True)
class User:
    """A person with a password."""

    name: str
    role: Role
    created_at: datetime


@dataclass(frozen=True)
class ApiToken:
    """What is known of an API token; the token itself is not kept."""

    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None


class Accounts:
    """The tables of users and tokens. `version` grows with every change, for those who remember what was verified."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hasher = PasswordHasher()  # argon2id with the parameters of RFC 9106, section 4, second choice
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        self._decoy = ""
        self.version = 0
        database.on_change(_TOPIC, self._changed)

    def _changed(self, _name: str) -> None:
        self.version += 1

    async def create_user(self, name: str, password: str, role: Role = Role.ADMIN) -> None:
        """Make a user. Raises Invalid for a bad name or a short password, Conflict if there is one of this name."""
        _check_name(name)
        if role not in (Role.ADMIN, Role.OPERATOR):
            raise Invalid(f"A person is admin or operator, not {role}.")
        password_hash = await self._hashed(password)
        row = {"name": name, "password_hash": password_hash, "role": role, "created_at": datetime.now(UTC)}
        async with self._database.write() as connection:
            if (await connection.execute(select(users.c.name).where(users.c.name == name))).first():
                raise Conflict(f"There is a user {name} already.")
            await connection.execute(insert(users), row)
            changed(connection, _TOPIC, name)

    async def set_password(self, name: str, password: str) -> None:
        """Give a user another password; sessions that were opened before it end. Raises NotFound, Invalid."""
        password_hash = await self._hashed(password)
        async with self._database.write() as connection:
            done = await connection.execute(
                update(users).where(users.c.name == name).values(password_hash=password_hash)
            )
            if done.rowcount == 0:
                raise NotFound(f"There is no user {name}.")
            changed(connection, _TOPIC, name)

    async def verify_password(self, name: str, password: str) -> User | None:
        """The user, if the password is right. Takes as long for a name that is not there."""
        row = await self._user_row(name)
        expected = row.password_hash if row is not None else await self._decoy_hash()
        async with self._hashing:
            right = await asyncio.to_thread(self._matches, expected, password)
        return _user_from_row(row) if row is not None and right else None

    async def user(self, name: str) -> tuple[User, str] | None:
        """The user, and a fingerprint that changes with the password; None if there is none."""
        row = await self._user_row(name)
        if row is None:
            return None
        return _user_from_row(row), hashlib.sha256(row.password_hash.encode()).hexdigest()[:16]

    async def users(self) -> list[User]:
        """All users by name."""
        async with self._database.read() as connection:
            return [_user_from_row(row) for row in await connection.execute(select(users).order_by(users.c.name))]

    async def delete_user(self, name: str) -> None:
        """Remove a user. Raises NotFound."""
        async with self._database.write() as connection:
            done = await connection.execute(delete(users).where(users.c.name == name))
            if done.rowcount == 0:
                raise NotFound(f"There is no user {name}.")
            changed(connection, _TOPIC, name)

    async def create_token(self, name: str, role: Role, expires_at: datetime | None = None) -> str:
        """Make an API token and return it: it is shown this once. Raises Invalid, Conflict if the name is taken."""
        _check_name(name)
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        async with self._database.write() as connection:
            if (await connection.execute(select(tokens.c.name).where(tokens.c.name == name))).first():
                raise Conflict(f"There is a token {name} already.")
            await connection.execute(insert(tokens), _token_row(name, token, role, expires_at))
            changed(connection, _TOPIC, name)
        return token

    async def verify_token(self, token: str) -> ApiToken | None:
        """What the token stands for, if it is one and has not expired."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        query = select(tokens).where(tokens.c.token_hash == _token_hash(token), tokens.c.name != _SETUP)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None or (row.expires_at is not None and row.expires_at <= datetime.now(UTC)):
            return None
        return _token_from_row(row)

    async def tokens(self) -> list[ApiToken]:
        """All API tokens by name."""
        query = select(tokens).where(tokens.c.name != _SETUP).order_by(tokens.c.name)
        async with self._database.read() as connection:
            return [_token_from_row(row) for row in await connection.execute(query)]

    async def delete_token(self, name: str) -> None:
        """Revoke an API token. Raises NotFound."""
        async with self._database.write() as connection:
            done = await connection.execute(delete(tokens).where(tokens.c.name == name, tokens.c.name != _SETUP))
            if done.rowcount == 0:
                raise NotFound(f"There is no token {name}.")
            changed(connection, _TOPIC, name)

    async def ensure_token(self, name: str, role: Role, file: Path) -> str:
        """The token in `file`, made if need be, which only its owner can read; it has this name and role from now."""
        token = await asyncio.to_thread(_token_in_file, file)
        known = await self.verify_token(token)
        if known is None or (known.name, known.role) != (name, role):
            async with self._database.write() as connection:
                await connection.execute(
                    delete(tokens).where((tokens.c.name == name) | (tokens.c.token_hash == _token_hash(token)))
                )
                await connection.execute(insert(tokens), _token_row(name, token, role, None))
                changed(connection, _TOPIC, name)
        return token

    async def create_setup_token(self, seconds: int = SETUP_SECONDS) -> str:
        """A token that lets its bearer in as admin once, within `seconds`. The one before it is void."""
        token = secrets.token_urlsafe(32)
        row = _token_row(_SETUP, token, Role.ADMIN, datetime.now(UTC) + timedelta(seconds=seconds))
        async with self._database.write() as connection:
            await connection.execute(delete(tokens).where(tokens.c.name == _SETUP))
            await connection.execute(insert(tokens), row)
        return token

    async def redeem_setup_token(self, token: str) -> bool:
        """Whether this is the setup token; it is not afterwards."""
        query = delete(tokens).where(
            tokens.c.name == _SETUP,
            tokens.c.token_hash == _token_hash(token),
            tokens.c.expires_at > datetime.now(UTC),
        )
        async with self._database.write() as connection:
            return (await connection.execute(query)).rowcount == 1

    async def _user_row(self, name: str) -> Row[Any] | None:
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
    _check_name(name)
    _check_password(password)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not a name: at most 64 letters, digits, and . _ @ -, a letter or digit first.")


def _check_password(password: str) -> None:
    if len(password) < _MINIMUM:
        raise Invalid(f"A password has at least {_MINIMUM} characters.")
    if password.startswith(TOKEN_PREFIX):
        raise Invalid(f"A password does not begin with {TOKEN_PREFIX}: that is how API tokens are told from it.")


def _token_hash(token: str) -> str:
    """A plain hash is enough, and quick: the token has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _token_row(name: str, token: str, role: Role, expires_at: datetime | None) -> dict[str, object]:
    return {
        "name": name,
        "token_hash": _token_hash(token),
        "role": role,
        "created_at": datetime.now(UTC),
        "expires_at": expires_at,
    }


def _user_from_row(row: Row[Any]) -> User:
    return User(row.name, Role(row.role), row.created_at)


def _token_from_row(row: Row[Any]) -> ApiToken:
    return ApiToken(row.name, Role(row.role), row.created_at, row.expires_at)


def _token_in_file(file: Path) -> str:
    """Read the token, or make one: written aside and linked, so that two processes agree and none reads half of it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                out.write(TOKEN_PREFIX + secrets.token_urlsafe(32) + "\n")
                out.flush()
                os.fsync(out.fileno())
            try:
                os.link(draft, file)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        file.chmod(0o600)
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise StorageError(f"The token file {file} cannot be used: {exc}.") from exc
    if not token.startswith(TOKEN_PREFIX) or len(token) < 40:
        raise StorageError(
            f"{file} does not hold a token.", hint="Remove it; Lumper makes a new one at the next start."
        )
    return token

"""Grants: who may do what in which repositories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, insert, select, update

from lumper.accounts.activity import record
from lumper.errors import Invalid, NotFound
from lumper.model.images.activity import SERVER, Activity, Actor, AuditAction
from lumper.model.people.people import GRANTED, Role
from lumper.model.people.rights import Action, Grant, grant
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed
from lumper.store.tables import grants, projects, users

TOPIC = "accounts"
PROJECT = "project:"  # before the name of a project, whose builds hold the grant


@dataclass(frozen=True)
class HeldGrant:
    """A grant and whose it is: a person's, a robot's, or `project:NAME`'s."""

    account: str
    repository: str
    actions: tuple[Action, ...]
    created_at: datetime


class Grants:
    """The table of grants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, account: str = "") -> list[HeldGrant]:
        """Those of one account, or all."""
        query = select(grants).order_by(grants.c.account, grants.c.repository)
        if account:
            query = query.where(grants.c.account == account)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [HeldGrant(row.account, row.repository, _ordered(row.actions), row.created_at) for row in rows]

    async def add(self, account: str, repository: str, actions: Iterable[str], actor: Actor = SERVER) -> HeldGrant:
        """Allow more; with what the account was granted for the same pattern before. Raises Invalid, NotFound."""
        new = checked(repository, actions)
        same = (grants.c.account == account) & (grants.c.repository == repository)
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            await _check_holder(connection, account)
            known = (await connection.execute(select(grants.c.actions).where(same))).scalar()
            all_of_them = _ordered({*new.actions, *(known or ())})
            if known is None:
                row = {"account": account, "repository": repository, "actions": all_of_them, "created_at": now}
                await connection.execute(insert(grants), row)
            else:
                await connection.execute(update(grants).where(same).values(actions=all_of_them))
            await told(connection, AuditAction.GRANT, account, ", ".join(all_of_them), actor, repository)
        return HeldGrant(account, repository, all_of_them, now)

    async def remove(self, account: str, repository: str, actor: Actor = SERVER) -> None:
        """Take a grant back. Raises NotFound."""
        query = delete(grants).where(grants.c.account == account, grants.c.repository == repository)
        async with self._database.write() as connection:
            if (await connection.execute(query)).rowcount == 0:
                hint = f"`lumper grant list {account}` shows what there is."
                raise NotFound(f"{account} has no grant for {repository}.", hint=hint)
            await told(connection, AuditAction.GRANT, account, "removed", actor, repository)


async def tell(database: Database, action: AuditAction, actor: Actor, detail: str = "") -> None:
    """Keep in the activity log what changes no account. Raises StorageError."""
    done = Activity(datetime.now(UTC), action, actor, detail=detail)
    async with database.write() as connection:
        await connection.run_sync(record, [done])


async def told(
    connection: AsyncConnection, action: AuditAction, account: str, detail: str, actor: Actor, repository: str = ""
) -> None:
    """Within the caller's transaction: an account was changed; what was verified is forgotten, and the log says so."""
    changed(connection, TOPIC, account)
    done = Activity(datetime.now(UTC), action, actor, repository, detail=f"{account}: {detail}")
    await connection.run_sync(record, [done])


async def grants_of(connection: AsyncConnection, account: str) -> tuple[Grant, ...]:
    """What one account holds."""
    rows = await connection.execute(select(grants).where(grants.c.account == account))
    return tuple(Grant(row.repository, frozenset(map(Action, row.actions))) for row in rows)


def checked(repository: str, actions: Iterable[str]) -> Grant:
    """The grant that people have written. Raises Invalid."""
    try:
        return grant(repository, actions)
    except ValueError as exc:
        raise Invalid(str(exc)) from exc


def _ordered(actions: Iterable[str]) -> tuple[Action, ...]:
    return tuple(action for action in Action if action in actions)


async def _check_holder(connection: AsyncConnection, account: str) -> None:
    if account.startswith(PROJECT):
        name = account.removeprefix(PROJECT)
        if (await connection.execute(select(projects.c.id).where(projects.c.name == name))).first() is None:
            raise NotFound(f"There is no project {name}.", hint="`lumper project list` shows all.")
        return
    role = (await connection.execute(select(users.c.role).where(users.c.name == account))).scalar()
    if role is None:
        raise NotFound(
            f"There is no account {account}.", hint="`lumper user list` and `lumper robot list` show who there is."
        )
    if Role(role) not in GRANTED:
        raise Invalid(f"{account} is {role} and may do everything already.")

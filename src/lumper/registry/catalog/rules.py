"""Rules for repositories: kept in a table, remembered, and asked in the transactions that move or remove tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, literal, select

from lumper.accounts.activity import record
from lumper.errors import NotFound, RuleForbids
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.rules import Keep, Rule, Rules, words
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed, upsert
from lumper.store.tables import manifest_links, rules, tags

TOPIC = "rules"


class RuleHistory:
    """The rules, answered from memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rules: Rules | None = None
        self._rule_changes = 0
        database.on_change(TOPIC, self._forget_rules)

    def _forget_rules(self, _key: str | None) -> None:
        self._rule_changes += 1
        self._rules = None

    async def rules(self) -> Rules:
        """All rules, the most specific first."""
        if self._rules is not None:
            return self._rules
        changes = self._rule_changes
        async with self._database.read() as connection:
            found = await rules_in(connection)
        if changes == self._rule_changes and self._database.hears:
            self._rules = found
        return found

    async def set_rule(self, rule: Rule, actor: Actor) -> None:
        """Make the rule, or the one of the same glob be this from now on."""
        now = datetime.now(UTC)
        body = {key: value for key, value in asdict(rule).items() if key != "repositories"}
        row = {"repositories": rule.repositories, "body": body, "updated_at": now}
        async with self._database.write() as connection:
            await connection.execute(upsert(connection, rules, "repositories"), row)
            told = Activity(now, AuditAction.RULE, actor, rule.repositories, detail="; ".join(words(rule)))
            await connection.run_sync(record, [told])
            changed(connection, TOPIC, rule.repositories)

    async def remove_rule(self, repositories: str, actor: Actor) -> None:
        """Remove the rule of this glob. Raises NotFound."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(rules).where(rules.c.repositories == repositories))
            if gone.rowcount == 0:
                hint = "`lumper registry rules list` shows all."
                raise NotFound(f"There is no rule for {repositories!r}.", hint=hint)
            told = Activity(datetime.now(UTC), AuditAction.RULE, actor, repositories, detail="removed")
            await connection.run_sync(record, [told])
            changed(connection, TOPIC, repositories)


async def rules_in(connection: AsyncConnection) -> Rules:
    """All rules as the caller's transaction sees them."""
    return Rules(_rule_from_row(row) for row in await connection.execute(select(rules)))


async def check_moves(
    connection: AsyncConnection, known: Rules, repository: str, identity: int, names: Sequence[str], digest: str
) -> None:
    """Raise RuleForbids if one of the tags is there, immutable, and points elsewhere than at `digest` ("": to go)."""
    rule = known.freezing(repository)
    frozen = [name for name in names if rule.freezes(name)] if rule else []
    if rule is None or not frozen:
        return
    query = select(tags.c.name).where(
        tags.c.repository_id == identity, tags.c.name.in_(frozen), tags.c.digest != digest
    )
    _refuse(rule, repository, (await connection.execute(query.order_by(tags.c.name))).scalars().first())


async def check_removal(connection: AsyncConnection, known: Rules, repository: str, identity: int, digest: str) -> None:
    """Raise RuleForbids if an immutable tag needs this manifest or blob: by itself, or by an index or image over it."""
    rule = known.freezing(repository)
    if rule is None:
        return
    held = select(literal(digest, manifest_links.c.child.type).label("digest")).cte("held", recursive=True)
    over = select(manifest_links.c.parent).where(
        manifest_links.c.repository_id == identity, manifest_links.c.child == held.c.digest
    )
    held = held.union(over)
    holding = select(tags.c.name).where(tags.c.repository_id == identity, tags.c.digest.in_(select(held.c.digest)))
    found = sorted((await connection.execute(holding)).scalars())
    _refuse(rule, repository, next((name for name in found if rule.freezes(name)), None))


def _refuse(rule: Rule, repository: str, name: str | None) -> None:
    if name is not None:
        raise RuleForbids(
            f"The tag {repository}:{name} is immutable by the rule for {rule.repositories}.",
            hint="Push under another tag, or change the rule first: `lumper registry rules set`.",
        )


def _rule_from_row(row: Row[Any]) -> Rule:
    body = row.body
    keep = body["keep"] and Keep(**{**body["keep"], "always": tuple(body["keep"]["always"])})
    rule = Rule(row.repositories, tuple(body["immutable"]), tuple(body["mutable"]), keep)
    return replace(rule, quota=body["quota"])

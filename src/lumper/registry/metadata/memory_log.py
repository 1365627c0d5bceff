"""Who did what, and the rules for repositories, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from lumper.errors import NotFound, RuleForbids
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.rules import Rule, Rules, words


class MemoryLog:
    """The part of the metadata that looks back, and ahead."""

    def __init__(self) -> None:
        self._activities: list[Activity] = []
        self._told = 0
        self._rules: dict[str, Rule] = {}

    async def rules(self) -> Rules:
        """All rules, the most specific first."""
        return Rules(self._rules.values())

    async def set_rule(self, rule: Rule, actor: Actor) -> None:
        """Make the rule, or the one of the same glob be this from now on."""
        self._rules[rule.repositories] = rule
        self._tell(
            Activity(datetime.now(UTC), AuditAction.RULE, actor, rule.repositories, detail="; ".join(words(rule)))
        )

    async def remove_rule(self, repositories: str, actor: Actor) -> None:
        """Remove the rule of this glob. Raises NotFound."""
        if self._rules.pop(repositories, None) is None:
            raise NotFound(f"There is no rule for {repositories!r}.")
        self._tell(Activity(datetime.now(UTC), AuditAction.RULE, actor, repositories, detail="removed"))

    def _check_frozen(self, repository: str, names: Iterable[str]) -> None:
        rule = Rules(self._rules.values()).freezing(repository)
        if rule and (frozen := next((name for name in names if rule.freezes(name)), None)):
            raise RuleForbids(f"The tag {repository}:{frozen} is immutable by the rule for {rule.repositories}.")

    async def activities(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        oldest_first: bool = False,
        repository: str = "",
        tag: str = "",
        actor: str = "",
        action: AuditAction | None = None,
        without: AuditAction | None = None,
    ) -> list[Activity]:
        """The newest activities first, or the oldest; those after the one with the id `after` in that order."""
        found = [
            one
            for one in self._activities
            if repository in ("", one.repository)
            and tag in ("", one.tag)
            and actor in ("", one.actor.name)
            and action in (None, one.action)
            and without != one.action
            and (not after or (one.id > after if oldest_first else one.id < after))
        ]
        return sorted(found, key=lambda one: one.id, reverse=not oldest_first)[:limit]

    async def forget_activities(self, before: datetime) -> int:
        """Forget the activities that are older; how many."""
        kept = [one for one in self._activities if one.at >= before]
        count = len(self._activities) - len(kept)
        self._activities = kept
        return count

    def _left_since(self, repository: str, since: datetime | None) -> set[str]:
        return {one.before for one in self._activities if since and one.repository == repository and one.at >= since}

    def _tell(self, done: Activity) -> None:
        self._told += 1
        self._activities.append(replace(done, id=self._told))

"""The API's view of the rules for repositories: immutable tags, retention, quotas."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from lumper.errors import Invalid
from lumper.model.globs import is_repository_glob
from lumper.model.images.rules import Keep, Rule, problems
from lumper.model.people.people import PEOPLE
from lumper.registry.port import RuleMetadata
from lumper.registry.retention.run import Retention
from lumper.registry.retention.verdicts import Verdict
from lumper.web.api.answers import answer, answer_lines
from lumper.web.api.guard import Guard, asking
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import body_of


class NewKeep(BaseModel):
    """What a rule keeps; see `Keep`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    last: int = 0
    pushed_days: float = 0
    pulled_days: float = 0
    minors: int = 0
    patches: int = 0
    always: tuple[str, ...] = ()


class NewRule(BaseModel):
    """The body of PUT /api/v1/registry/rules/{glob}."""

    model_config = ConfigDict(extra="forbid")

    immutable: tuple[str, ...] = ()
    mutable: tuple[str, ...] = ()
    keep: NewKeep | None = None
    quota: int = 0


class RemovedRule(BaseModel):
    """The glob whose rule was removed."""

    repositories: str


class RuleRoutes:
    """The handlers."""

    def __init__(self, metadata: RuleMetadata, retention: Retention) -> None:
        self._metadata = metadata
        self._retention = retention

    @describe(str, query={"repositories": str}, media_type="application/jsonl")
    async def judge(self, request: web.Request) -> web.StreamResponse:
        """Tell what retention would do with every tag, as JSON lines, in `repositories` that fit this glob.

        `{"tag": …}` is a verdict with its reason, at last comes `{"done": …}` or `{"error": …}`.
        """
        return await self._judged(request, dry_run=True)

    @describe(str, query={"repositories": str}, media_type="application/jsonl")
    async def retain(self, request: web.Request) -> web.StreamResponse:
        """Remove the tags that no rule keeps, and tell what became of every tag, as JSON lines.

        The same lines as those of GET.
        """
        return await self._judged(request, dry_run=False)

    async def _judged(self, request: web.Request, *, dry_run: bool) -> web.StreamResponse:
        glob = request.query.get("repositories") or "**"
        if not is_repository_glob(glob):
            raise Invalid(f"{glob[:300]!r} is no glob for repositories.", hint="Write one such as team/*.")
        return await answer_lines(request, _verdicts(self._retention.run(glob, dry_run=dry_run)))

    @describe(list[Rule])
    async def show(self, _request: web.Request) -> web.Response:
        """All rules, the most specific first."""
        return answer((await self._metadata.rules()).all)

    @describe(Rule, body=NewRule)
    async def set(self, request: web.Request) -> web.Response:
        """Make the rule for a glob of repositories, or put it in the place of the one that was there."""
        new = await body_of(request, NewRule)
        keep = Keep(**new.keep.model_dump()) if new.keep else None
        rule = Rule(request.match_info["glob"], new.immutable, new.mutable, keep, new.quota)
        if wrong := problems(rule):
            raise Invalid("; ".join(wrong)[:2000] + ".", hint="`lumper registry rules set --help` has an example.")
        await self._metadata.set_rule(rule, asking(request))
        return answer(rule)

    @describe(RemovedRule)
    async def remove(self, request: web.Request) -> web.Response:
        """Remove the rule of a glob."""
        glob = request.match_info["glob"]
        await self._metadata.remove_rule(glob, asking(request))
        return answer({"repositories": glob})


async def _verdicts(run: AsyncIterator[Verdict]) -> AsyncIterator[object]:
    kept = removed = 0
    async for verdict in run:
        kept, removed = kept + verdict.kept, removed + (not verdict.kept)
        yield {"tag": verdict}
    yield {"done": {"kept": kept, "removed": removed}}


def add_routes(app: web.Application, guard: Guard, metadata: RuleMetadata, retention: Retention) -> None:
    """Serve the part of the API about rules."""
    rules = RuleRoutes(metadata, retention)
    app.router.add_get("/api/v1/registry/retention", guard.allowed(rules.judge, *PEOPLE), allow_head=False)
    app.router.add_post("/api/v1/registry/retention", guard.allowed(rules.retain, *PEOPLE))
    app.router.add_get("/api/v1/registry/rules", guard.allowed(rules.show, *PEOPLE))
    app.router.add_put("/api/v1/registry/rules/{glob:.+}", guard.allowed(rules.set, *PEOPLE))
    app.router.add_delete("/api/v1/registry/rules/{glob:.+}", guard.allowed(rules.remove, *PEOPLE))

"""The API's view of the rules for repositories: immutable tags, retention, quotas."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from lumper.errors import Invalid
from lumper.model.rules import Keep, Rule, problems
from lumper.registry.port import Metadata
from lumper.web.api import PEOPLE, Api, answer, asking, body_of
from lumper.web.openapi import describe


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

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

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


def add_routes(app: web.Application, api: Api, metadata: Metadata) -> None:
    """Serve the part of the API about rules."""
    rules = RuleRoutes(metadata)
    app.router.add_get("/api/v1/registry/rules", api.allowed(rules.show, *PEOPLE))
    app.router.add_put("/api/v1/registry/rules/{glob:.+}", api.allowed(rules.set, *PEOPLE))
    app.router.add_delete("/api/v1/registry/rules/{glob:.+}", api.allowed(rules.remove, *PEOPLE))

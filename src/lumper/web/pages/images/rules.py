"""The rules that hold for a repository: what they say, how much of a quota is taken, what retention would remove."""

from __future__ import annotations

import hashlib

from aiohttp import web

from lumper.errors import Conflict, Invalid
from lumper.model.images.rules import Keep, Rule, Rules, keep_words, problems
from lumper.model.people.people import PEOPLE
from lumper.model.people.rights import Action
from lumper.registry.registry import Registry
from lumper.web.auth.authenticator import actor_of
from lumper.web.pages.images.names import nothing, page_of, reference_of
from lumper.web.pages.site import IDENTITY, VIEWERS, Site
from lumper.web.small_bodies import form_of

_MOST = 500  # verdicts that are shown
_COUNTS = ("last", "minors", "patches")
_DAYS = ("pushed_days", "pulled_days")
_UNIT = 1 << 20  # quotas are written in MiB


class RulePages:
    """The handlers."""

    def __init__(self, site: Site, registry: Registry) -> None:
        self._site = site
        self._registry = registry

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        page, one = self._site.page, "/images/{reference:.+}/-/rules"
        router.add_get(one, page(self.show, VIEWERS))
        router.add_post(one, page(self.set))
        router.add_post(f"{one}/remove", page(self.remove))
        router.add_get("/rules", page(self.all))

    async def all(self, request: web.Request) -> web.Response:
        """All rules, the most specific first, with what is taken of their quotas."""
        rules = (await self._registry.metadata.rules()).all
        taken = {rule.repositories: await self._registry.quotas.taken(rule) for rule in rules if rule.quota}
        return self._site.render(request, "rules.html", rules=rules, taken=taken, keep_words=keep_words)

    async def show(self, request: web.Request, error: str = "") -> web.Response:
        """The rules, and with `preview` what retention would do now."""
        name = await self._name(request)
        rules = await self._registry.metadata.rules()
        own = _own(rules, name)
        preview = await self._registry.retention.preview(name, _MOST) if "preview" in request.query else None
        return self._site.render(
            request,
            "image_rules.html",
            status=400 if error else 200,
            name=name,
            error=error,
            freezing=rules.freezing(name),
            keeping=rules.keeping(name),
            keep_words=keep_words,
            standing=await self._registry.quotas.standing(name),
            own=own,
            seen=_seen(own),
            unit=_UNIT,
            preview=preview,
            admin=request[IDENTITY].role in PEOPLE,
        )

    async def set(self, request: web.Request) -> web.StreamResponse:
        """Make the rule of this repository, or change it, if it is still the one that the page has shown."""
        name, form = await self._name(request, Action.ADMIN), await form_of(request)
        await self._check_unchanged(name, form)
        try:
            rule = rule_from_form(name, form)
        except Invalid as exc:
            return await self.show(request, exc.message)
        await self._registry.metadata.set_rule(rule, actor_of(request[IDENTITY], request))
        raise web.HTTPSeeOther(f"{page_of(name)}/-/rules")

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Remove the rule of this repository; those of globs that fit it stay."""
        name, form = await self._name(request, Action.ADMIN), await form_of(request)
        await self._check_unchanged(name, form)
        await self._registry.metadata.remove_rule(name, actor_of(request[IDENTITY], request))
        raise web.HTTPSeeOther(f"{page_of(name)}/-/rules")

    async def _check_unchanged(self, name: str, form: dict[str, str]) -> None:
        if form.get("seen", "") != _seen(_own(await self._registry.metadata.rules(), name)):
            raise Conflict(f"The rule for {name} has changed since you saw it.", hint="Look at it again.")

    async def _name(self, request: web.Request, action: Action = Action.PULL) -> str:
        reference = reference_of(request, action)
        there = await self._registry.metadata.tags(reference.repository, limit=1) is not None
        if not there or reference.tag or reference.digest:
            raise nothing(str(request.match_info["reference"]))
        return reference.repository


def _own(rules: Rules, name: str) -> Rule:
    """The rule of the repository alone; one that says nothing if there is none."""
    return next((rule for rule in rules.all if rule.repositories == name), Rule(name))


def _seen(rule: Rule) -> str:
    """What tells a rule from what it was before."""
    return hashlib.sha256(repr(rule).encode()).hexdigest()


def rule_from_form(name: str, form: dict[str, str]) -> Rule:
    """The rule for a repository as the form has it. Raises Invalid, with all that is wrong."""
    immutable, mutable, always = (
        tuple(form.get(key, "").replace(",", " ").split()) for key in ("immutable", "mutable", "always")
    )
    counts = {key: int(_amount(form, key)) for key in _COUNTS}
    days = {key: _amount(form, key) for key in _DAYS}
    keep = Keep(**counts, **days, always=always)  # type: ignore[arg-type]
    quota = int(_amount(form, "quota") * _UNIT)
    rule = Rule(name, immutable, mutable, keep if keep != Keep() else None, quota)
    if wrong := problems(rule):
        raise Invalid("; ".join(wrong)[:2000] + ".")
    return rule


def _amount(form: dict[str, str], key: str) -> float:
    """A number that is not negative; 0 for nothing."""
    text = form.get(key, "").strip()
    if not text:
        return 0
    if not text.isascii() or len(text) > 15 or not text.replace(".", "", 1).isdigit():
        raise Invalid(f"{text[:100]!r} is no number.")
    return float(text)

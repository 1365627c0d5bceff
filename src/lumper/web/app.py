"""The one application: every door on one port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from lumper.history.store import History
from lumper.hooks.port import Forge
from lumper.metrics import Metrics
from lumper.model.links import Links
from lumper.model.people import Role
from lumper.model.rights import NOTHING, Rights
from lumper.queue.port import Broker
from lumper.registry.attest.store import Attestations
from lumper.registry.registry import Registry
from lumper.web import (
    api,
    audit,
    build_logs,
    care,
    deliveries,
    health,
    hooks,
    oci,
    origin,
    own,
    pages,
    people,
    projects,
    queues,
    rules,
    secrets,
    statements,
    tagging,
    verifying,
    watch,
    webhooks,
)
from lumper.web.auth import Authenticator
from lumper.web.limits import Limits
from lumper.web.openapi import Describer
from lumper.web.pages import MailReader
from lumper.web.proxies import PROXIES, Proxies
from lumper.web.tokens import Keys


@dataclass(frozen=True)
class Behind:
    """Whom the doors lead to."""

    history: History
    broker: Broker
    registry: Registry
    keys: Keys
    receiver: hooks.Receiver
    forges: Sequence[Forge]
    replayer: deliveries.Replayer
    starter: projects.Starter
    desk: projects.Desk
    mail: MailReader
    links: Links
    metrics: Metrics
    attestations: Attestations


@dataclass(frozen=True)
class Doors:
    """How far the doors open.

    `data` is the data folder, whose disk is watched; repositories below the folders `allow_local` may be named by their
    path. `public_url` is where the registry says that its tokens are had, "" for the address that a client asks for;
    requests from `trusted_proxies`, networks, say themselves whom they came from. `anonymous` is what the registry
    allows to who has no account. `alone`: this is a registry and no more; the pages do not speak of builds and hosts.
    """

    data: Path
    allow_local: tuple[Path, ...]
    public_url: str = ""
    trusted_proxies: Sequence[str] = ()
    anonymous: Rights = NOTHING
    limits: Limits | None = None
    alone: bool = False


def make_app(behind: Behind, doors: Doors) -> web.Application:
    """Webhooks, API, registry and pages."""
    history, registry, links, metrics = behind.history, behind.registry, behind.links, behind.metrics
    app = web.Application(client_max_size=1 << 20)
    app[PROXIES] = Proxies(doors.trusted_proxies)
    secure = links.public_url.startswith("https://")
    auth = Authenticator(history.accounts, behind.keys, secure=secure, anyone=doors.anonymous)
    hooks.add_routes(app, behind.receiver, behind.forges)
    endpoints = api.Api(history, auth, links)
    api.add_routes(app, endpoints)
    projects.add_routes(app, endpoints, history, links, behind.starter, behind.desk, doors.allow_local)
    deliveries.add_routes(app, endpoints, history, behind.replayer)
    queues.add_routes(app, endpoints, behind.broker, history.builds.dispatch)
    verifying.add_routes(app, endpoints, history)
    care.add_routes(app, endpoints, registry)
    tagging.add_routes(app, endpoints, registry.tagging, history.shown)
    origin.add_routes(app, endpoints, origin.Origins(history, registry, behind.attestations))
    statements.add_routes(app, endpoints, statements.Statements(history, behind.attestations))
    rules.add_routes(app, endpoints, registry.metadata, registry.retention)
    build_logs.add_routes(app, endpoints, history)
    audit.add_routes(app, endpoints, history.activity)
    webhooks.add_routes(app, endpoints, history.webhooks)
    people.add_routes(app, endpoints, history.accounts)
    secrets.add_routes(app, endpoints, history.secrets, links)
    own.add_routes(app, endpoints, history.accounts, auth)
    app.router.add_get("/api/v1/openapi.json", endpoints.allowed(Describer().show, *Role), allow_head=False)
    oci.add_routes(
        app,
        registry,
        auth,
        public_url=doors.public_url,
        requests=metrics.requests,
        limits=doors.limits,
    )
    watched = watch.Watch(metrics, history.figures, history.webhooks, behind.broker, registry, doors.data)
    watch.add_routes(app, endpoints, watched)
    health.add_routes(app, {"database": history.figures.answers, "storage": registry.answers})
    acting = pages.Acting(behind.replayer, behind.starter, behind.desk)
    pages.add_routes(app, history, registry, auth, behind.mail, links, acting, behind.attestations, alone=doors.alone)
    return app

"""The one application: webhooks, API, registry and pages on one port."""

from __future__ import annotations

from aiohttp import web

from lumper.web import api, health, hooks, metrics, oci, pages
from lumper.web.api.guard import Guard
from lumper.web.auth.authenticator import Authenticator
from lumper.web.connection.proxies import PROXIES, Proxies
from lumper.web.parts import Parts, Settings


def make_app(parts: Parts, settings: Settings) -> web.Application:
    """Webhooks, API, registry and pages."""
    history, registry, links = parts.history, parts.registry, parts.links
    app = web.Application(client_max_size=1 << 20)
    app[PROXIES] = Proxies(settings.trusted_proxies)
    secure = links.public_url.startswith("https://")
    auth = Authenticator(history.accounts, parts.keys, secure=secure, anyone=settings.anonymous)
    guard = Guard(auth)
    hooks.add_routes(app, parts.receiver, parts.forges)
    api.add_routes(app, guard, parts, auth, settings.allow_local)
    oci.add_routes(
        app,
        registry,
        auth,
        public_url=settings.public_url,
        requests=parts.metrics.requests,
        limits=settings.limits,
        folder=settings.data,
    )
    metrics.add_routes(app, guard, parts, settings.data)
    health.add_routes(app, {"database": history.figures.answers, "storage": registry.answers})
    acting = pages.Acting(parts.replayer, parts.starter, parts.desk, parts.forges)
    pages.add_routes(app, history, registry, auth, parts.mail, links, acting, parts.attestations, alone=settings.alone)
    return app

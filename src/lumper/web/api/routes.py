"""All routes under /api/v1."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from lumper.web.api import root
from lumper.web.api.builds import build_logs, builds, verifications
from lumper.web.api.guard import Guard
from lumper.web.api.images import attestations, images, maintenance, origin, rules, tags, webhooks
from lumper.web.api.operations import queues, rollouts
from lumper.web.api.people import accounts, audit, me
from lumper.web.api.projects import deliveries, projects, secrets
from lumper.web.auth.authenticator import Authenticator
from lumper.web.parts import Parts
from lumper.web.statements import Statements


def add_routes(
    app: web.Application, guard: Guard, parts: Parts, auth: Authenticator, allow_local: tuple[Path, ...]
) -> None:
    """Serve the API. Repositories below the folders `allow_local` may be named by their path."""
    history, registry, links = parts.history, parts.registry, parts.links
    builds.add_routes(app, guard, history, auth)
    build_logs.add_routes(app, guard, history)
    verifications.add_routes(app, guard, history)
    people = projects.ProjectRoutes(history, links, parts.starter, parts.desk, parts.forges, allow_local)
    projects.add_routes(app, guard, people)
    deliveries.add_routes(app, guard, history, parts.replayer)
    secrets.add_routes(app, guard, history.secrets, links)
    queues.add_routes(app, guard, parts.broker, history.builds.dispatch)
    rollouts.add_routes(app, guard, history.rollouts)
    images.add_routes(app, guard, history, links)
    tags.add_routes(app, guard, registry.tags, history.catalog)
    origin.add_routes(app, guard, origin.Origins(history, registry, parts.attestations))
    attestations.add_routes(app, guard, Statements(history, parts.attestations))
    rules.add_routes(app, guard, registry.metadata, registry.retention)
    maintenance.add_routes(app, guard, registry)
    accounts.add_routes(app, guard, history.accounts)
    me.add_routes(app, guard, history.accounts, auth)
    audit.add_routes(app, guard, history.activity)
    webhooks.add_routes(app, guard, history.webhooks)
    root.add_routes(app, guard, links)

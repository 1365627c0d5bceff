"""The pages for people: what was built, what runs where, and why not.

/  /builds/{id}          builds, and one with its live log
/images  /images/{…}     the registry: repositories, images, the past of tags, rules
/services                what runs where
/projects                what is built, and how a forge is told of it
/deliveries  …/{id}      what forges sent, and the same once more
/mail                    mails that no mail server took
/access  /me             who may sign in and what they may do; oneself
/audit                   who did what
/login  /logout  /setup  who asks

All pages   site.py; templates.py, formats.py; security.py: what browsers are told to refuse
Builds      builds.py, projects.py, secrets.py, deliveries.py, services.py, mail.py
Registry    images.py, repository.py, image.py, by names.py; tags.py (history, delete),
            repository_delete.py, compare.py, rules.py, attestations.py
People      sign_in.py, access.py, audit.py
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from lumper.forges.all import Forges
from lumper.line.history import History
from lumper.model.links import Links
from lumper.notify.port import MailReader
from lumper.registry.attest.store import Attestations
from lumper.registry.registry import Registry
from lumper.web.assets import Assets
from lumper.web.auth.authenticator import Authenticator
from lumper.web.pages.builds import BuildPages
from lumper.web.pages.images.attestations import AttestationPages
from lumper.web.pages.images.compare import ComparePages
from lumper.web.pages.images.images import ImagePages
from lumper.web.pages.images.repository_delete import RepositoryDelete
from lumper.web.pages.images.rules import RulePages
from lumper.web.pages.images.tags import TagPages
from lumper.web.pages.mail import MailPages
from lumper.web.pages.people.access import AccessPages
from lumper.web.pages.people.audit import AuditPages
from lumper.web.pages.people.sign_in import SignIn
from lumper.web.pages.projects.deliveries import DeliveryPages
from lumper.web.pages.projects.projects import ProjectPages
from lumper.web.pages.projects.secrets import SecretPages
from lumper.web.pages.security import HEADERS, with_headers
from lumper.web.pages.services import ServicePages
from lumper.web.pages.site import VIEWERS, Site
from lumper.web.ports import ForgeConnections, Starter
from lumper.web.replayer import Replayer
from lumper.web.sse import Streams
from lumper.web.statements import Statements

__all__ = ["Acting", "MailReader", "add_routes"]


@dataclass(frozen=True)
class Acting:
    """What acts when somebody presses a button: replays deliveries, starts builds, speaks with forges."""

    replayer: Replayer
    starter: Starter
    desk: ForgeConnections
    forges: Forges


def add_routes(
    app: web.Application,
    history: History,
    registry: Registry,
    auth: Authenticator,
    mail: MailReader,
    links: Links,
    acting: Acting,
    attestations: Attestations,
    *,
    alone: bool = False,
) -> None:
    """Serve the pages, as the last of all routes; those of a registry `alone` lead to nothing else.

    The application has no middleware, which would run for `/v2` and webhooks too: each page's handler is wrapped.
    """
    assets = Assets()
    site = Site(auth, links, assets, alone=alone)
    streams = Streams(app, history.database, HEADERS)
    app.router.add_get("/static/{version}/{name:.+}", with_headers(assets.serve))
    app.router.add_get("/events", site.page(streams.changes, VIEWERS), allow_head=False)
    SignIn(site, history.accounts).add_routes(app.router)
    BuildPages(site, history, streams, acting.starter).add_routes(app.router)
    RepositoryDelete(site, history, registry).add_routes(app.router)
    TagPages(site, history, registry).add_routes(app.router)
    RulePages(site, registry).add_routes(app.router)
    ComparePages(site, history, registry).add_routes(app.router)
    AttestationPages(site, Statements(history, attestations)).add_routes(app.router)
    ImagePages(site, history, registry).add_routes(app.router)
    ServicePages(site, history).add_routes(app.router)
    ProjectPages(site, history, acting.desk, acting.forges).add_routes(app.router)
    SecretPages(site, history.secrets).add_routes(app.router)
    DeliveryPages(site, history, acting.replayer).add_routes(app.router)
    AccessPages(site, history.accounts).add_routes(app.router)
    AuditPages(site, history.activity).add_routes(app.router)
    MailPages(site, mail).add_routes(app.router)
    app.router.add_route("*", "/{anything:(?s:.*)}", site.public(site.nowhere))

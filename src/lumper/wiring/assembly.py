"""Adapters and configuration to the application and what the server does beside it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from aiohttp import web

from lumper.build.source.pinned_address import AddressGuard
from lumper.build.source.remotes import Remotes
from lumper.config.layout import DataFolder
from lumper.config.settings import Config
from lumper.errors import StorageError
from lumper.forges.all import open_forges
from lumper.forges.client import ForgeClient
from lumper.line.history import SECRETS_KEY, History, open_history
from lumper.metrics import Metrics
from lumper.model.addresses import Network
from lumper.model.builds.log_keeping import LogLimits
from lumper.model.links import Links
from lumper.model.people.people import Role
from lumper.queue.codec import encode
from lumper.queue.port import Broker
from lumper.registry.access import anonymous_rights
from lumper.registry.attest.port import Signer
from lumper.registry.attest.store import Attestations
from lumper.registry.gc.collector import Policy, Report
from lumper.registry.port import Storage
from lumper.registry.registry import Registry
from lumper.registry.remote.lookup import Lookup
from lumper.roles.attester import Attester
from lumper.roles.bases import Bases
from lumper.roles.duties import Duties
from lumper.roles.forge import ForgeDesk
from lumper.roles.log_keeper import LogKeeper
from lumper.roles.triggers import Triggers
from lumper.roles.verifier import Verifier
from lumper.roles.webhook_sender import WebhookSender
from lumper.store.shared_files import share
from lumper.wiring.adapters import (
    open_broker,
    open_remote,
    open_storage,
    open_upstreams,
    ssh_settings,
)
from lumper.wiring.storage_identity import recognised

SIGNING_KEY = "signing.pem"
TOKENS_KEY = "tokens.key"


@contextlib.asynccontextmanager
async def open_own_history(config: Config, folder: DataFolder, links: Links) -> AsyncIterator[History]:
    """The history in its database, brought to the newest schema, with the tokens of the roles."""
    from lumper.accounts.tokens import make_token
    from lumper.system.secret_files import make_key, read_key

    url = config.database.url.get_secret_value() or folder.database_url
    own_key = config.database.secrets_key_file
    sealing_key = own_key or folder.folder("keys") / SECRETS_KEY
    if own_key:
        read_key(own_key)
    history = open_history(url, folder.folder("logs"), links, encode, sealing_key)
    try:
        await history.database.migrate()
        await history.database.listen()
        keys = folder.folder("keys")
        await share(history.database, TOKENS_KEY, keys / TOKENS_KEY, make_key)
        await share(history.database, SIGNING_KEY, keys / SIGNING_KEY, _make_signing_key)
        if not own_key:
            await share(history.database, SECRETS_KEY, sealing_key, make_key)
        for role in (Role.OPERATOR, Role.WORKER, Role.MAILER, Role.DEPLOYER):
            await share(history.database, f"tokens/{role.value}", folder.token(role.value), make_token)
            await history.accounts.ensure_token(role.value, role, folder.token(role.value))
        yield history
    finally:
        await history.database.close()


def open_registry(config: Config, folder: DataFolder, storage: Storage, history: History, metrics: Metrics) -> Registry:
    """The registry over its storage and its metadata. To be called in the event loop."""
    policy = Policy(
        timedelta(seconds=config.registry.gc_grace),
        untagged=config.registry.untagged == "delete",
        undo=timedelta(days=config.registry.undo_days),
        activity=timedelta(days=config.registry.activity_days),
    )

    def collected(report: Report, seconds: float) -> None:
        metrics.collected({kind.value: count for kind, count in report.counts.items()}, report.freed, seconds)

    database = history.database
    shared = database.alone if database.shared and storage.shared else None
    return Registry(storage, history.images, policy, collected, shared=shared, upstreams=open_upstreams(config, folder))


@dataclass(frozen=True)
class Instance:
    """What a server consists of, however it is reached."""

    config: Config
    folder: DataFolder
    links: Links
    history: History
    broker: Broker
    registry: Registry
    metrics: Metrics
    triggers: Triggers
    desk: ForgeDesk
    attestations: Attestations


@contextlib.asynccontextmanager
async def open_instance(config: Config, folder: DataFolder, links: Links) -> AsyncIterator[Instance]:
    """All of a server but its port. The folder must be locked."""
    async with contextlib.AsyncExitStack() as stack:
        history = await stack.enter_async_context(open_own_history(config, folder, links))
        broker = await open_broker(config, folder)
        stack.push_async_callback(broker.close)
        storage = open_storage(config, folder)
        stack.push_async_callback(storage.close)
        await stack.enter_async_context(recognised(config, folder, history.database, storage))
        metrics = Metrics()
        registry = open_registry(config, folder, storage, history, metrics)
        stack.push_async_callback(registry.close)
        yield Instance(
            config,
            folder,
            links,
            history,
            broker,
            registry,
            metrics,
            assemble_triggers(config, folder, history),
            ForgeDesk(history, links, open_forges(), ForgeClient()),
            assemble_attestations(folder, registry, links),
        )


def assemble_app(instance: Instance, *, alone: bool = False) -> web.Application:
    """Everything on the one port; `alone`: the registry is all there is."""
    from lumper.notify.channels.maildir import MaildirReader
    from lumper.roles.receiver import HistoryReceiver
    from lumper.web.app import make_app
    from lumper.web.auth.rate_limits import RateLimits
    from lumper.web.auth.signed_tokens import Keys
    from lumper.web.parts import Parts, Settings
    from lumper.web.replayer import Replayer

    config, folder, history = instance.config, instance.folder, instance.history
    receiver, forges = HistoryReceiver(history), open_forges()
    parts = Parts(
        history,
        instance.broker,
        instance.registry,
        Keys(key_file(folder)),
        receiver,
        forges,
        Replayer(history, receiver, forges),
        instance.triggers,
        instance.desk,
        MaildirReader(folder.folder("mail")),
        instance.links,
        instance.metrics,
        instance.attestations,
    )
    settings = Settings(
        data=folder.root,
        allow_local=config.git.allow_local,
        public_url=config.server.public_url,
        trusted_proxies=config.server.trusted_proxies,
        anonymous=anonymous_rights(config.registry.anonymous, config.registry.anonymous_repositories),
        limits=RateLimits(
            account=config.registry.rate_limit,
            anonymous=config.registry.anonymous_rate_limit,
            pulls=config.registry.pull_limit,
            window=config.registry.pull_window,
        ),
        alone=alone,
    )
    return make_app(parts, settings)


def assemble_duties(instance: Instance) -> Duties:
    """What the server does beside answering requests."""
    from lumper.notify.channels.webhook import WebhookCaller

    config, history, links, metrics = instance.config, instance.history, instance.links, instance.metrics
    return Duties(
        history,
        instance.registry,
        instance.broker,
        metrics,
        instance.triggers,
        instance.desk,
        Bases(history, assemble_lookup(instance)),
        WebhookSender(history.webhooks, WebhookCaller(), links.public_url, metrics.webhook_called),
        Attester(history, instance.registry, instance.attestations, links),
        Verifier(history, instance.registry),
        LogKeeper(history, _log_limits(config)),
        config.registry.gc_interval,
    )


def assemble_lookup(instance: Instance) -> Lookup:
    """What knows the images that builds are FROM."""
    config, registry, links = instance.config, instance.registry, instance.links

    async def own_digest(repository: str, reference: str) -> str:
        if registry.upstreams is not None and registry.upstreams.of(repository) is not None:
            return (await registry.manifests.find(repository, reference)).digest
        return await registry.manifests.there(repository, reference)

    own = {links.registry, links.deploy_registry, links.local, config.worker.registry} - {""}
    return Lookup(partial(open_remote, config), instance.history.secrets.login, own_digest, own)


def _log_limits(config: Config) -> LogLimits:
    log = config.log
    return LogLimits(timedelta(days=log.keep_days), log.keep_bytes, timedelta(days=log.delivery_days))


def key_file(folder: DataFolder) -> Path:
    """Where the key lies that tokens are signed with."""
    return folder.folder("keys") / TOKENS_KEY


def assemble_triggers(config: Config, folder: DataFolder, history: History) -> Triggers:
    """What starts builds without a delivery."""
    remotes = Remotes(
        folder.folder("mirrors") / "server",
        ssh=ssh_settings(config, folder.folder("ssh")),
        reach=AddressGuard(Network(config.git.allow_private, config.git.allow_hosts)),
    )
    return Triggers(history, remotes)


def assemble_attestations(folder: DataFolder, registry: Registry, links: Links) -> Attestations:
    """What signs images, and tells of them; the key is made if there is none."""
    file = folder.folder("keys") / SIGNING_KEY
    if not file.exists():
        _make_signing_key(file)

    def open_signer() -> Signer:
        from lumper.registry.attest.signer import read_signer

        return read_signer(file)

    return Attestations(registry, open_signer, links.registry)


def _make_signing_key(file: Path) -> None:
    from lumper.registry.attest.signer import make_signing_key

    make_signing_key(file)


def token_of(folder: DataFolder, role: Role, file: Path | None = None) -> str:
    """The token of a role, from its file. Raises StorageError."""
    path = file or folder.token(role.value)
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise StorageError(
            f"The token of the {role.value} cannot be read from {path}: {exc.strerror}.",
            hint="The server writes it at its first start; elsewhere, copy it and set [connect] token_file.",
        ) from exc

"""Adapters and configuration to the roles beside the server: loaded only where one of them runs."""

from __future__ import annotations

import os
from dataclasses import replace

from lumper.build.grants import Grants
from lumper.build.port import Limits as BuildLimits
from lumper.build.port import Login as EngineLogin
from lumper.build.run import Builder, Entrust, GitCredentials, RegistryLogin
from lumper.build.source.mirror_keeping import MirrorLimits
from lumper.build.upkeep import UpkeepLimits
from lumper.config.layout import DataFolder
from lumper.config.settings import Config
from lumper.deploy.port import Login as HostLogin
from lumper.line.history import History
from lumper.model.builds.secrets import GivenSecrets, Needed
from lumper.model.images.image import private_tag
from lumper.model.links import Links
from lumper.queue.port import Broker
from lumper.roles.deployer import Deployer
from lumper.roles.mailer import Mailer, ReadLog
from lumper.roles.replicator import Replicator
from lumper.roles.worker import Worker
from lumper.wiring.adapters import open_channels, open_host
from lumper.wiring.assembly import key_file
from lumper.wiring.engines import open_engine, open_mirrors


def sign_in_builds(folder: DataFolder) -> RegistryLogin:
    """How builds sign in to the registry that is served by this process."""
    from lumper.web.auth.signed_tokens import Keys, build_token

    keys = Keys(key_file(folder))

    async def login(build_id: int, attempt: int) -> EngineLogin:
        return EngineLogin(private_tag(build_id, attempt), build_token(keys, build_id, attempt), own=True)

    return login


def entrust_builds(history: History, links: Links) -> Entrust:
    """How builds are given their secrets by the server in this process."""

    async def entrust(build_id: int, attempt: int, needed: Needed) -> GivenSecrets:
        found = await history.secrets.entrusted(build_id, attempt, needed)
        return replace(found, registry=links.registry)

    return entrust


def assemble_worker(
    config: Config,
    folder: DataFolder,
    broker: Broker,
    registry: str,
    login: RegistryLogin,
    git: GitCredentials,
    entrust: Entrust,
    server: str,
) -> Worker:
    """A worker; `registry` is HOST:PORT as its engine reaches it, unless the configuration says another.

    `server` is the URL at which this process reaches the registry.
    """
    mirrors = open_mirrors(config, folder.folder("mirrors"), folder.folder("ssh"))
    builder = Builder(
        open_engine(config, folder.layers),
        mirrors,
        config.worker.registry or registry,
        login,
        git,
        config.worker.build_timeout,
        config.worker.push_timeout,
        config.worker.silence_timeout,
        Grants(
            config.worker.frontends,
            config.worker.entitlements,
            BuildLimits(config.worker.memory, config.worker.cpus),
            os.environ.get("SSH_AUTH_SOCK", ""),
            config.worker.ssh_agent,
            config.worker.cache_groups,
        ),
        entrust=entrust,
        copy=Replicator(server).copy,
    )
    return Worker(
        broker,
        builder,
        name=config.worker.name,
        concurrency=config.worker.concurrency,
        labels=config.worker.labels,
        spool=folder.folder("spool"),
        log_limit=config.worker.log_size,
        upkeep=UpkeepLimits(mirror_limits(config), config.worker.engine_disk),
    )


def mirror_limits(config: Config) -> MirrorLimits:
    """What mirrors may take."""
    return MirrorLimits(config.git.mirror_days, config.git.mirror_total)


def assemble_mailer(config: Config, folder: DataFolder, broker: Broker, read_log: ReadLog) -> Mailer:
    """A mailer."""
    channel, fallback = open_channels(config, folder)
    return Mailer(broker, channel, fallback, read_log, people=config.mail.people, admin=config.mail.admin)


def assemble_deployer(config: Config, broker: Broker, token: str) -> Deployer:
    """A deployer."""

    async def credentials(_image: str) -> HostLogin:
        return HostLogin("deployer", token)

    return Deployer(broker, open_host(config), credentials)

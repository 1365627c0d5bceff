"""The adapter that the configuration names. Each is imported where it is chosen: an extra not used is not needed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from lumper.build.source.git import Ssh
from lumper.config.layout import DataFolder
from lumper.config.settings import Config, UpstreamConfig
from lumper.deploy.port import Host
from lumper.errors import Invalid
from lumper.notify.port import Channel
from lumper.queue.port import Broker
from lumper.registry.port import Storage
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import RetryPolicy
from lumper.registry.remote.reference import checked_url
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.upstreams import Upstream, Upstreams
from lumper.web.connection.certificate import Certificate

_IMPATIENT = RetryPolicy(attempts=2, longest=2.0, connect=5.0, idle=30.0)


def ssh_settings(config: Config, folder: Path | None) -> Ssh:
    """What git needs for ssh: what lies in the folder, unless the configuration says others."""
    key, known = config.git.ssh_key, config.git.ssh_known_hosts
    strict = known is not None
    if folder is not None:
        key, known = key or folder / "id_ed25519", known or folder / "known_hosts"
    return Ssh(key, known, strict)


async def open_broker(config: Config, folder: DataFolder) -> Broker:
    """The broker that [queue] url names. Raises Invalid for a kind of URL that there is none for."""
    url = config.queue.url.get_secret_value()
    match url.partition(":")[0]:
        case "":
            from lumper.queue.brokers.sqlite import SqliteBroker

            return SqliteBroker(folder.queue)
        case "amqp" | "amqps":
            try:
                from lumper.queue.brokers.rabbitmq import RabbitBroker
            except ModuleNotFoundError as exc:
                hint = "Install it with `pip install '.[rabbitmq]'` in the checkout of Lumper."
                raise Invalid("RabbitMQ needs the Python package aio-pika.", hint=hint) from exc
            return RabbitBroker(url)
        case other:
            raise Invalid(
                f"[queue] url begins with {other}:, and no such broker is known.", hint="Use amqp:// or leave it empty."
            )


def open_certificate(config: Config) -> Certificate | None:
    """What [server] tls_certificate and tls_key name, None without them. Raises Invalid."""
    certificate, key = config.server.tls_certificate, config.server.tls_key
    return Certificate(certificate, key) if certificate and key else None


def open_host(config: Config) -> Host:
    """The host that services run on."""
    from lumper.deploy.hosts.docker import DockerHost

    return DockerHost(config.deploy.host, config.deploy.engine)


def open_channels(config: Config, folder: DataFolder) -> tuple[Channel, Channel]:
    """The channel for reports, and the one for what it refuses."""
    from lumper.notify.channels.maildir import MaildirChannel

    maildir = MaildirChannel(folder.folder("mail"), sender=config.mail.sender)
    if not config.mail.host:
        return maildir, maildir
    from lumper.notify.channels.email import EmailChannel

    mail = config.mail
    channel = EmailChannel(
        mail.host,
        mail.port,
        sender=mail.sender,
        username=mail.username,
        password=mail.password.get_secret_value(),
        security=mail.security,
        timeout=mail.timeout,
        ca_file=mail.ca_file,
    )
    return channel, maildir


def open_upstreams(config: Config, folder: DataFolder) -> Upstreams | None:
    """The registries that are mirrored, None without any. Raises Invalid for a password that cannot be read."""
    found = config.registry.upstream
    if not found:
        return None
    upstreams = [_upstream(name, one) for name, one in found.items()]
    return Upstreams(upstreams, folder.folder("arrivals"))


def open_remote(config: Config, url: str, credentials: Credentials | None = None) -> RemoteRegistry:
    """The registry at this URL: with these credentials, or as an upstream if it is one.

    An upstream without TLS is found by its host alone.
    """
    _, _, host = url.partition("://")
    for name, one in config.registry.upstream.items():
        if credentials is None and checked_url(one.url).partition("://")[2] == host:
            return _registry(name, one)
    return RemoteRegistry(url, credentials, patience=_IMPATIENT)


def _upstream(name: str, config: UpstreamConfig) -> Upstream:
    keep = timedelta(days=config.keep_days) if config.keep_days else None
    return Upstream(config.prefix or name, _registry(name, config), config.ttl, keep, config.only, config.default)


def _registry(name: str, config: UpstreamConfig) -> RemoteRegistry:
    password = config.password.get_secret_value()
    if config.password_file is not None:
        try:
            password = config.password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise Invalid(f"The password of the upstream {name} cannot be read: {exc}.") from exc
    return RemoteRegistry(
        config.url,
        Credentials(config.username, password),
        auth_host=config.auth_host,
        ca_file=config.ca_file,
        patience=_IMPATIENT,
    )


def open_storage(config: Config, folder: DataFolder) -> Storage:
    """Where images lie, as [registry] storage says. Raises Invalid for what is not known, or not whole."""
    registry = config.registry
    match registry.storage.partition(":")[0]:
        case "":
            from lumper.registry.storage.filesystem import FilesystemStorage

            return FilesystemStorage(folder.folder("registry"), registry.keep_free << 20)
        case "s3":
            secret = registry.secret_access_key.get_secret_value()
            if not registry.access_key_id or not secret:
                raise Invalid(
                    "[registry] storage is an S3 bucket, and there is no key for it.",
                    hint="Set [registry] access_key_id and LUMPER_REGISTRY_SECRET_ACCESS_KEY_FILE.",
                )
            try:
                from lumper.registry.storage.s3 import Bucket, Credentials, S3Storage
            except ModuleNotFoundError as exc:
                hint = "Install it with `pip install '.[s3]'` in the checkout of Lumper."
                raise Invalid("An S3 bucket needs the Python package obstore.", hint=hint) from exc
            key = Credentials(registry.access_key_id, secret, registry.region)
            bucket = Bucket.at(registry.storage, registry.endpoint, key, registry.ca_file)
            return S3Storage(bucket, redirect=registry.redirect, folder=folder.root)
        case other:
            raise Invalid(
                f"[registry] storage begins with {other}:, and no such storage is known.",
                hint="Use s3://BUCKET/PREFIX or leave it empty.",
            )

"""What builds, where it has the source from, and where it pushes to: loaded only where something is built."""

from __future__ import annotations

from pathlib import Path

from lumper.build.capabilities import CAPABILITIES
from lumper.build.known_layers import KnownLayers
from lumper.build.port import Engine, Login
from lumper.build.source.checkout import Limits, Mirrors
from lumper.build.source.pinned_address import AddressGuard
from lumper.build.target import Target
from lumper.config.settings import Config
from lumper.model.addresses import Network
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import RetryPolicy
from lumper.registry.remote.registry import RemoteRegistry
from lumper.wiring.adapters import ssh_settings

_PUSHING = RetryPolicy(attempts=2, longest=2.0)  # the whole push is tried again, by its own rules


def open_mirrors(config: Config, folder: Path, ssh: Path | None = None) -> Mirrors:
    """The mirrors in a folder; in `ssh` are the key and the known hosts, unless the configuration says others."""
    return Mirrors(
        folder,
        limits=Limits(timeout=config.git.timeout, max_bytes=config.git.max_size),
        ssh=ssh_settings(config, ssh),
        reach=AddressGuard(Network(config.git.allow_private, config.git.allow_hosts)),
    )


def open_engine(config: Config, layers: Path | None = None) -> Engine:
    """What builds; in the file `layers` it keeps what it knows of pushed layers. Raises ConfigError."""
    engine, builder = _open_engine(config, layers), open_builder(config)
    if builder is None:
        return engine
    from lumper.build.engines.buildx.choosing import ChoosingEngine

    return ChoosingEngine(engine, builder, CAPABILITIES["docker buildx"])


def open_builder(config: Config) -> Engine | None:
    """The builder of buildx that builds what the engine lacks, if one is named."""
    if not config.worker.builder:
        return None
    from lumper.build.engines.buildx.engine import BuildxEngine

    return BuildxEngine(config.worker.builder, config.data / "buildx", open_target)


def _open_engine(config: Config, layers: Path | None) -> Engine:
    kind, _, place = config.worker.engine.partition(":")
    if kind == "buildah":
        from lumper.build.engines.buildah.engine import BuildahEngine
        from lumper.wiring.pushed import manifest_size

        return BuildahEngine(Path(place) if place else config.data / "buildah", manifest_size)
    from lumper.build.engines.buildkit.transport.address import Certificates, is_daemon, parse_address

    worker = config.worker
    shown = Certificates(worker.engine_ca, worker.engine_certificate, worker.engine_key) if worker.engine_ca else None
    address = parse_address(worker.engine, shown)
    if is_daemon(worker.engine):
        from lumper.build.engines.buildkit.daemon import DaemonEngine

        return DaemonEngine(address, config.data / "images", open_target)
    from lumper.build.engines.buildkit.engine import BuildKitEngine

    direct = worker.direct_push and layers is not None
    return BuildKitEngine(address, open_target=open_target if direct else None, known=KnownLayers(layers))


def open_target(url: str, login: Login | None) -> Target:
    """The registry that a worker pushes to."""
    credentials = Credentials(login.username, login.password, at_once=login.own) if login else None
    return RemoteRegistry(url, credentials, patience=_PUSHING)

"""What runs where: services, releases and their containers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class Port:
    """A published port. `host` 0 means that the engine picks one. `address` is the host's address to bind."""

    container: int
    host: int = 0
    address: str = "127.0.0.1"
    protocol: str = "tcp"


@dataclass(frozen=True)
class Health:
    """How a new container proves itself within `timeout` seconds.

    `http` is a path asked for at `port` (2xx and 3xx are healthy); `command` is run inside the container (exit 0 is
    healthy). With neither, the image's own HEALTHCHECK decides, and without one the container must stay up for
    `stable` seconds.
    """

    http: str = ""
    port: int = 0
    command: tuple[str, ...] = ()
    interval: float = 0.5
    timeout: float = 30.0
    stable: float = 2.0


@dataclass(frozen=True)
class Service:
    """What runs: everything but the image. `volumes` maps a named volume to a path in the container."""

    name: str
    ports: tuple[Port, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    health: Health = field(default_factory=Health)
    stop_timeout: float = 10.0

    @property
    def config_hash(self) -> str:
        """A short hash of everything but the image: with the digest it names a release."""
        plain = json.loads(json.dumps(asdict(self)), parse_int=float)  # 3 seconds are 3.0 seconds
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Release:
    """A service at one digest and one configuration.

    `image` is the repository as the host pulls it (`127.0.0.1:5080/owner/name`); the digest is always added.
    `generation` grows by one with every release of the service.
    """

    service: Service
    image: str
    digest: str
    generation: int
    version: str = ""
    build_id: int | None = None

    @property
    def reference(self) -> str:
        """`image@digest`: what the host pulls and runs."""
        return f"{self.image}@{self.digest}"


class ContainerState(StrEnum):
    """What a host says of a container."""

    STARTING = "starting"
    RUNNING = "running"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    EXITED = "exited"


@dataclass(frozen=True)
class Container:
    """A container of a service as a host shows it. `ports` have the real host ports; `final` is False for a trial.

    `accepted` tells that it once proved healthy and is kept running by the host; until then it is on trial too, or the
    remains of a rollout that was cut off. `address` is its own, on the host's network of containers.
    """

    id: str
    service: str
    digest: str
    config_hash: str
    generation: int
    state: ContainerState
    host: str = "local"
    version: str = ""
    final: bool = True
    accepted: bool = True
    ports: tuple[Port, ...] = ()
    address: str = ""
    restarts: int = 0
    exit_code: int | None = None
    started_at: datetime | None = None

    @property
    def up(self) -> bool:
        """Whether it runs, or its host is about to start it again: it holds its ports."""
        return self.state is not ContainerState.EXITED


class RolloutState(StrEnum):
    """queued → running → succeeded | failed. `failed` means: the release before is what runs."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Rollout:
    """A move to a release, with the journal of what was done."""

    id: int
    service: str
    digest: str
    generation: int
    version: str
    state: RolloutState
    created_at: datetime
    finished_at: datetime | None = None
    build_id: int | None = None
    error: str = ""
    journal: tuple[str, ...] = ()

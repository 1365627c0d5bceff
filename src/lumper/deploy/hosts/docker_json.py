"""Releases and containers as the Docker Engine's API writes them.

Field names: https://docs.docker.com/reference/api/engine/version/v1.41/ (ContainerCreate, ContainerInspect).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from lumper.errors import ReleaseRefused
from lumper.model.deployment import Container, ContainerState, Port, Release, Service
from lumper.model.images.image import is_digest

SERVICE = "lumper.service"
DIGEST = "lumper.digest"
CONFIG = "lumper.config.settings"
GENERATION = "lumper.generation"
VERSION = "lumper.version"
TRIAL = "lumper.trial"

ACCEPTED_POLICY = "unless-stopped"
_UNACCEPTED_POLICY = "no"
_LOOPBACK = "127.0.0.1"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}")
_IMAGE = re.compile(r"[a-z0-9\[][a-zA-Z0-9.:\]_-]*(/[a-z0-9][a-z0-9._-]*)+")
_HEALTH = {
    "starting": ContainerState.STARTING,
    "healthy": ContainerState.HEALTHY,
    "unhealthy": ContainerState.UNHEALTHY,
}


def name_of(release: Release, *, trial: bool) -> str:
    """The container's name, as long as nobody else has it."""
    return f"{release.service.name}-{release.generation}" + ("-trial" if trial else "")


def release_to_engine(release: Release, *, trial: bool) -> dict[str, Any]:
    """The body of ContainerCreate. Raises ReleaseRefused for what would reach outside of the container."""
    service = release.service
    check(release)
    body: dict[str, Any] = {
        "Image": release.reference,
        "Env": [f"{name}={value}" for name, value in service.env.items()],
        "Labels": _labels(release, trial=trial),
        "ExposedPorts": {f"{port.container}/{port.protocol}": {} for port in service.ports},
        "HostConfig": {
            "PortBindings": _bindings(service.ports, trial=trial),
            "Mounts": _mounts(service),
            "RestartPolicy": {"Name": _UNACCEPTED_POLICY},
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "Init": True,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }
    return body | ({"Cmd": list(service.command)} if service.command else {})


def check(release: Release) -> None:
    """Raises ReleaseRefused if a name in the release could mean something else to the engine than a name."""
    service = release.service
    if not _NAME.fullmatch(service.name):
        raise ReleaseRefused(f"{service.name!r} cannot be the name of a container.")
    if not _IMAGE.fullmatch(release.image) or not is_digest(release.digest):
        raise ReleaseRefused(f"{release.reference!r} is not an image by digest.")
    for name, value in service.env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ReleaseRefused(f"{name!r} cannot be the name of an environment variable.")
    for volume, path in service.volumes.items():
        if not _NAME.fullmatch(volume):
            raise ReleaseRefused(f"{volume!r} is not the name of a volume; folders of the host are not mounted.")
        if not path.startswith("/") or ".." in path.split("/") or not path.strip("/"):
            raise ReleaseRefused(f"{path!r} is not a place for a volume: it needs an absolute path below /.")


def volume_name(service: Service, volume: str) -> str:
    """The engine's name of a service's volume. It has the service's in it: none can reach for the volume of another."""
    return f"{service.name}_{volume}"


def container_from_engine(body: dict[str, Any], host: str) -> Container:
    """A Container from what ContainerInspect answers."""
    labels, state = body["Config"].get("Labels") or {}, body["State"]
    status = _state(state)
    return Container(
        id=body["Id"],
        service=labels.get(SERVICE, ""),
        digest=labels.get(DIGEST, ""),
        config_hash=labels.get(CONFIG, ""),
        generation=_number(labels.get(GENERATION, "")),
        state=status,
        host=host,
        version=labels.get(VERSION, ""),
        final=labels.get(TRIAL) != "true",
        accepted=body["HostConfig"]["RestartPolicy"]["Name"] not in ("", _UNACCEPTED_POLICY),
        ports=_ports(body),
        address=_address(body["NetworkSettings"]),
        restarts=body.get("RestartCount", 0),
        exit_code=state["ExitCode"] if status is ContainerState.EXITED else None,
        started_at=_time(state["StartedAt"]),
    )


def _labels(release: Release, *, trial: bool) -> dict[str, str]:
    return {
        SERVICE: release.service.name,
        DIGEST: release.digest,
        CONFIG: release.service.config_hash,
        GENERATION: str(release.generation),
        VERSION: release.version,
        TRIAL: "true" if trial else "false",
    }


def _bindings(ports: tuple[Port, ...], *, trial: bool) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        address, host = (_LOOPBACK, 0) if trial else (port.address, port.host)
        binding = {"HostIp": address, "HostPort": str(host) if host else ""}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(binding)
    return bindings


def _mounts(service: Service) -> list[dict[str, Any]]:
    return [
        {
            "Type": "volume",
            "Source": volume_name(service, volume),
            "Target": path,
            "VolumeOptions": {"Labels": {SERVICE: service.name}},
        }
        for volume, path in service.volumes.items()
    ]


def _state(state: dict[str, Any]) -> ContainerState:
    if state.get("Restarting"):
        return ContainerState.UNHEALTHY
    if not state["Running"]:
        return ContainerState.EXITED
    return _HEALTH.get((state.get("Health") or {}).get("Status", ""), ContainerState.RUNNING)


def _ports(body: dict[str, Any]) -> tuple[Port, ...]:
    """The ports as they are, or, of a container that does not run, as they were asked for."""
    actual = body["NetworkSettings"].get("Ports") or body["HostConfig"].get("PortBindings") or {}
    found = {
        Port(int(number), int(binding["HostPort"] or 0), binding["HostIp"] or "0.0.0.0", protocol)  # noqa: S104 - read, not bound
        for (number, _, protocol), bindings in ((key.partition("/"), bindings) for key, bindings in actual.items())
        for binding in bindings or ()
    }
    return tuple(sorted(found, key=lambda port: (port.container, port.protocol, port.address, port.host)))


def _address(network: dict[str, Any]) -> str:
    addresses = [entry.get("IPAddress") or "" for entry in (network.get("Networks") or {}).values()]
    return next((address for address in addresses if address), "")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _time(text: str) -> datetime | None:
    time = datetime.fromisoformat(text)
    return time if time.year > 1 else None  # year 1 is the engine's word for "never"

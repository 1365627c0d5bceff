"""What buildah is asked for, as arguments. Pure.

Every value stands behind `=` in the argument of its option, or after `--`: none can be taken for an option.
Source: buildah-build(1), buildah-push(1) of 1.28.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumper.build.engines.buildah.ability import Ability
from lumper.build.port import BuildRequest
from lumper.model.addresses import on_loopback

_EPOCH = "SOURCE_DATE_EPOCH"
_CPU_PERIOD = 100_000  # microseconds; the kernel's own default


@dataclass(frozen=True)
class Shop:
    """The folders and files of one build: its context, the Dockerfile in it, credentials, and each secret's file."""

    context: Path
    dockerfile: Path
    ignore: Path
    auth: Path
    secrets: Mapping[str, Path]


def build_arguments(request: BuildRequest, shop: Shop, ability: Ability) -> list[str]:
    """The arguments that build the request.

    The format is Docker's, which has health checks; but buildah writes names of its containers into it, so that an
    image whose times are rewritten, to be the same each time, is one of OCI's.
    """
    arguments = [
        "build",
        f"--format={'oci' if request.rewrite_timestamp else 'docker'}",
        *("--layers", "--force-rm", "--jobs=1", "--identity-label=false", "--http-proxy=false"),
        *ability.arguments(request.network),
        f"--file={shop.dockerfile}",
        f"--ignorefile={shop.ignore}",
        f"--authfile={shop.auth}",
        *(f"--build-arg={name}={value}" for name, value in request.args.items()),
        *(f"--label={name}={value}" for name, value in request.labels.items()),
        *(f"--secret=id={name},src={path}" for name, path in shop.secrets.items()),
        *(f"--ssh={name}={path}" for name, path in request.ssh.items()),
        *_limits(request),
        *_platforms(request),
    ]
    if request.target:
        arguments.append(f"--target={request.target}")
    if request.no_cache:
        arguments.append("--no-cache")
    if request.pull:
        arguments.append("--pull=always")
    if request.rewrite_timestamp and request.args.get(_EPOCH, "").isdecimal():
        arguments.append(f"--timestamp={request.args[_EPOCH]}")
    return [*arguments, "--", str(shop.context)]


def _limits(request: BuildRequest) -> list[str]:
    arguments = []
    if request.limits.memory:
        arguments += [f"--memory={request.limits.memory}b", f"--memory-swap={request.limits.memory}b"]
    if request.limits.cpus:
        arguments += [
            f"--cpu-period={_CPU_PERIOD}",
            f"--cpu-quota={max(1000, round(request.limits.cpus * _CPU_PERIOD))}",
        ]
    return arguments


def _platforms(request: BuildRequest) -> list[str]:
    """With several platforms the name is that of a list."""
    if len(request.platforms) > 1:
        return [f"--platform={','.join(request.platforms)}", f"--manifest={request.image}"]
    return [*(f"--platform={platform}" for platform in request.platforms), f"--tag={request.image}"]


def push_arguments(image: str, *, several: bool, auth: Path, digest: Path) -> list[str]:
    """The arguments that push an image, or a list with all its images."""
    return [
        *(("manifest", "push", "--all", "--format=v2s2") if several else ("push", "--retry=0")),
        f"--authfile={auth}",
        f"--digestfile={digest}",
        *(("--tls-verify=false",) if on_loopback(image.partition("/")[0]) else ()),
        "--",
        image,
        f"docker://{image}",
    ]

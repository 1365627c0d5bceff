"""What buildx is asked for, as arguments. Pure.

Every value stands behind `=` in the argument of its option, or after `--`: none can be taken for an option.
Source: docker/docs, "docker buildx build".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumper.build.cache_mounts import engine_args
from lumper.build.pinning import pins
from lumper.build.port import BuildRequest, Cache

SYNTAX = "BUILDKIT_SYNTAX"
"""The build argument that takes the place of the line `# syntax=`."""


@dataclass(frozen=True)
class Shop:
    """The files of one build: the tar of its context, each secret's, and the folder where the result goes."""

    context: Path
    secrets: Mapping[str, Path]
    result: Path


def build_arguments(request: BuildRequest, shop: Shop, builder: str) -> list[str]:
    """The arguments that build the request, from a tar on standard input into an OCI layout.

    Attestations are made only if they are asked for.
    """
    args = {name: value for name, value in engine_args(request).items() if name != SYNTAX}
    if request.frontend:
        args[SYNTAX] = request.frontend
    output = {"type": "oci", "dest": str(shop.result), "tar": "false", "name": request.image}
    if request.rewrite_timestamp:
        output["rewrite-timestamp"] = "true"
    arguments = [
        "build",
        f"--builder={builder}",
        "--progress=rawjson",
        f"--provenance={f'mode={request.provenance}' if request.provenance else 'false'}",
        f"--sbom={'true' if request.sbom else 'false'}",
        f"--output={_fields(output)}",
        f"--file={request.dockerfile}",
        *(f"--build-arg={name}={value}" for name, value in args.items()),
        *(f"--label={name}={value}" for name, value in request.labels.items()),
        *(f"--secret={_fields({'id': name, 'src': str(path)})}" for name, path in shop.secrets.items()),
        *(f"--ssh={name}={path}" for name, path in request.ssh.items()),
        *(f"--build-context={name}={image}" for name, image in pins(request.bases).items()),
        *(f"--allow={right}" for right in request.entitlements),
        *(f"--cache-from={_cache(cache)}" for cache in request.cache_from),
        *(f"--cache-to={_export(cache)}" for cache in request.cache_to),
    ]
    if request.platforms:
        arguments.append(f"--platform={','.join(request.platforms)}")
    for option, value in (("target", request.target), ("network", request.network)):
        if value:
            arguments.append(f"--{option}={value}")
    arguments += ["--no-cache"] if request.no_cache else []
    arguments += ["--pull"] if request.pull else []
    return [*arguments, "--", "-"]


def _cache(cache: Cache) -> str:
    return _fields({"type": cache.type, **cache.attributes})


def _export(cache: Cache) -> str:
    """In a registry it is a manifest; without that, BuildKit before 0.21 makes an index of layers: not all take it."""
    as_image = {"image-manifest": "true", "oci-mediatypes": "true"} if cache.type == "registry" else {}
    return _fields({"type": cache.type, **as_image, **cache.attributes})


def _fields(values: Mapping[str, str]) -> str:
    """Fields as buildx reads them: one line of CSV, so that no value can begin another field."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{name}={value}" for name, value in values.items()])
    return line.getvalue()

"""From a request of the port to BuildKit's. Pure.

Source of the attributes: moby/buildkit, frontend/dockerui/config.go, frontend/dockerfile/docs and README ("Output",
"Cache").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from lumper.build.cache_mounts import engine_args
from lumper.build.engines.buildkit.proto import control_pb2
from lumper.build.engines.buildkit.proto.control_pb2 import CacheOptions, CacheOptionsEntry, SolveRequest
from lumper.build.pinning import pins
from lumper.build.port import BuildRequest, Cache


@dataclass(frozen=True)
class Exporter:
    """Where the result goes: BuildKit's name of the kind, and its attributes beside the image's name."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


MOBY = Exporter("moby")
"""Among the images of a Docker Engine."""

CONTAINERD = Exporter("image", {"unpack": "false"})
"""Among the images of a Docker Engine that keeps them in containerd, as they are pushed. They are unpacked when one is
first run: here it takes time, excludes `rewrite-timestamp`, and fails at times while other images go (Engine 26.1)."""

STORE = Exporter("oci", {"tar": "false"})
"""Into the content store that the session calls `export`."""


def solve_request(
    request: BuildRequest, *, ref: str, session: str, context: str, exporter: Exporter = MOBY, group: str = ""
) -> SolveRequest:
    """The call that builds `request` from the context at the URL `context`, or from the session's folders for "".

    Its steps are in the control group `group`.
    """
    name = canonical(request.image) if exporter == CONTAINERD else request.image
    result = {"name": name, **exporter.attributes}
    if request.rewrite_timestamp:
        result["rewrite-timestamp"] = "true"
    return SolveRequest(
        Ref=ref,
        Session=session,
        Frontend="dockerfile.v0",
        Entitlements=request.entitlements,
        FrontendAttrs=_attributes(request, context, group),
        Cache=_caches(request),
        ExporterDeprecated=exporter.type,
        ExporterAttrsDeprecated=result,
        Exporters=[control_pb2.Exporter(Type=exporter.type, Attrs=result)],
    )


def canonical(image: str) -> str:
    """The name with its registry. An Engine that keeps images in containerd does not find any other one again.

    Source: distribution/reference, "ParseNormalizedNamed".

    >>> canonical("app:1"), canonical("team/app:1"), canonical("localhost:5000/app:1")
    ('docker.io/library/app:1', 'docker.io/team/app:1', 'localhost:5000/app:1')
    """
    host, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if host == "localhost" or "." in host or ":" in host else f"docker.io/{image}"


def _attributes(request: BuildRequest, context: str, group: str) -> dict[str, str]:
    attributes = {"filename": request.dockerfile}
    if not request.frontend:  # as if a syntax image had been called by this line: then no other is looked for
        attributes["cmdline"] = "docker/dockerfile"
    if request.no_cache:
        attributes["no-cache"] = ""
    optional = {
        "contextsubdir": request.context_folder,
        "context": context,
        "target": request.target,
        "image-resolve-mode": "pull" if request.pull else "",
        "platform": ",".join(request.platforms),
        "force-network-mode": request.network,
        "cgroup-parent": group,
        "cache-imports": _imports(request),
        "attest:provenance": f"mode={request.provenance}" if request.provenance else "",
    }
    attributes |= {name: value for name, value in optional.items() if value}
    if request.sbom:
        attributes["attest:sbom"] = ""
    attributes |= {f"context:{name}": image for name, image in pins(request.bases).items()}
    attributes |= {f"build-arg:{name}": value for name, value in engine_args(request).items()}
    return attributes | {f"label:{name}": value for name, value in request.labels.items()}


def _imports(request: BuildRequest) -> str:
    """Caches to import, for the Dockerfile's reader: it hands them on with every part of the graph."""
    entries = [{"Type": cache.type, "Attrs": dict(cache.attributes)} for cache in request.cache_from]
    return json.dumps(entries) if entries else ""


def _caches(request: BuildRequest) -> CacheOptions:
    return CacheOptions(
        Exports=[_export(cache) for cache in request.cache_to],
        Imports=[_entry(cache) for cache in request.cache_from],
    )


def _entry(cache: Cache) -> CacheOptionsEntry:
    return CacheOptionsEntry(Type=cache.type, Attrs=cache.attributes)


def _export(cache: Cache) -> CacheOptionsEntry:
    """In a registry it is a manifest; without that, BuildKit before 0.21 makes an index of layers: not all take it."""
    as_image = {"image-manifest": "true", "oci-mediatypes": "true"} if cache.type == "registry" else {}
    return CacheOptionsEntry(Type=cache.type, Attrs=as_image | dict(cache.attributes))

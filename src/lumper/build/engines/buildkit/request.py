"""From a request of the port to BuildKit's. Pure.

Source of the attributes: moby/buildkit, frontend/dockerui/config.go, frontend/dockerfile/docs and README ("Output",
"Cache").
"""

from __future__ import annotations

import json

from lumper.build.engines.buildkit.proto.control_pb2 import CacheOptions, CacheOptionsEntry, Exporter, SolveRequest
from lumper.build.pinning import pins
from lumper.build.port import BuildRequest, Cache

MOBY = "moby"  # puts the result among the images of a Docker Engine


def solve_request(request: BuildRequest, *, ref: str, session: str, context: str, exporter: str = MOBY) -> SolveRequest:
    """The call that builds `request` from the context at the URL `context`."""
    result = {"name": request.image}
    if request.rewrite_timestamp:
        result["rewrite-timestamp"] = "true"
    return SolveRequest(
        Ref=ref,
        Session=session,
        Frontend="dockerfile.v0",
        Entitlements=request.entitlements,
        FrontendAttrs=_attributes(request, context),
        Cache=_caches(request),
        ExporterDeprecated=exporter,
        ExporterAttrsDeprecated=result,
        Exporters=[Exporter(Type=exporter, Attrs=result)],
    )


def _attributes(request: BuildRequest, context: str) -> dict[str, str]:
    attributes = {"context": context, "filename": request.dockerfile}
    if not request.frontend:  # as if a syntax image had been called by this line: then no other is looked for
        attributes["cmdline"] = "docker/dockerfile"
    if request.no_cache:
        attributes["no-cache"] = ""
    optional = {
        "contextsubdir": request.context_folder,
        "target": request.target,
        "image-resolve-mode": "pull" if request.pull else "",
        "platform": ",".join(request.platforms),
        "force-network-mode": request.network,
        "cache-imports": _imports(request),
        "attest:provenance": f"mode={request.provenance}" if request.provenance else "",
    }
    attributes |= {name: value for name, value in optional.items() if value}
    if request.sbom:
        attributes["attest:sbom"] = ""
    attributes |= {f"context:{name}": image for name, image in pins(request.bases).items()}
    attributes |= {f"build-arg:{name}": value for name, value in request.args.items()}
    return attributes | {f"label:{name}": value for name, value in request.labels.items()}


def _imports(request: BuildRequest) -> str:
    """Caches to import, for the Dockerfile's reader: it hands them on with every part of the graph."""
    entries = [{"Type": cache.type, "Attrs": dict(cache.attributes)} for cache in request.cache_from]
    return json.dumps(entries) if entries else ""


def _caches(request: BuildRequest) -> CacheOptions:
    return CacheOptions(
        Exports=[_entry(cache) for cache in request.cache_to],
        Imports=[_entry(cache) for cache in request.cache_from],
    )


def _entry(cache: Cache) -> CacheOptionsEntry:
    return CacheOptionsEntry(Type=cache.type, Attrs=cache.attributes)

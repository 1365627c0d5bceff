"""Which engine can what: a table, and the refusal of a build that needs more than its engine has."""

from __future__ import annotations

from collections.abc import Mapping

from lumper.build.port import BuildRequest, Capability, EngineInfo
from lumper.errors import EngineLacks

_NETWORKS = frozenset({Capability.NETWORK_NONE, Capability.NETWORK_HOST})
_SESSION = frozenset({Capability.SECRETS, Capability.SSH, Capability.LOGINS})
_DOCKER = _NETWORKS | _SESSION | {Capability.CACHE_IMPORT, Capability.CACHE_INLINE, Capability.DOCKERFILE_APART}

CAPABILITIES: Mapping[str, frozenset[Capability]] = {
    "a Docker Engine": _DOCKER,
    "a Docker Engine with the containerd image store": _DOCKER
    | {Capability.PLATFORMS, Capability.CACHE_EXPORT, Capability.ATTESTATIONS, Capability.REWRITE_TIMESTAMP},
    "buildkitd": frozenset(Capability) - {Capability.LIMITS},
    "docker buildx": frozenset(Capability) - {Capability.LIMITS, Capability.DOCKERFILE_APART},
    "buildah": _NETWORKS
    | _SESSION
    | {Capability.PLATFORMS, Capability.LIMITS, Capability.REWRITE_TIMESTAMP, Capability.DOCKERFILE_APART},
}
"""By what people call the engine."""


def needs(request: BuildRequest) -> Mapping[Capability, str]:
    """What the request needs beyond what every engine can, each with what asks for it."""
    asked = {
        Capability.PLATFORMS: ", ".join(request.platforms) if len(request.platforms) > 1 else "",
        Capability.SECRETS: ", ".join(request.secrets),
        Capability.SSH: ", ".join(request.ssh),
        Capability.LOGINS: ", ".join(request.logins),
        Capability.CACHE_IMPORT: ", ".join(cache.type for cache in request.cache_from),
        Capability.CACHE_EXPORT: ", ".join(cache.type for cache in request.cache_to if cache.type != "inline"),
        Capability.CACHE_INLINE: "inline" if any(cache.type == "inline" for cache in request.cache_to) else "",
        Capability.NETWORK_NONE: "none" if request.network == "none" else "",
        Capability.NETWORK_HOST: "host" if request.network == "host" else "",
        Capability.LIMITS: "limits" if request.limits.memory or request.limits.cpus else "",
        Capability.ATTESTATIONS: "attestations" if request.provenance or request.sbom else "",
        Capability.REWRITE_TIMESTAMP: "timestamps" if request.rewrite_timestamp else "",
        Capability.DOCKERFILE_APART: request.dockerfile if request.context_folder else "",
    }
    return {capability: words for capability, words in asked.items() if words}


def refuse(request: BuildRequest, info: EngineInfo) -> None:
    """Raise EngineLacks if the request needs what this engine has not; it names the engines that would do. Pure."""
    needed = needs(request)
    lacking = [capability for capability in needed if capability not in info.capabilities]
    if not lacking:
        return
    words = " and ".join(f"no {capability} ({needed[capability]})" for capability in lacking)
    others = [name for name, known in CAPABILITIES.items() if known.issuperset(needed)]
    would = f"These would do: {', '.join(others)}." if others else "No engine that Lumper knows has all of that."
    if Capability.LIMITS in lacking:
        would += " An Engine from 23 on limits builds where the worker is root on its machine."
    raise EngineLacks(
        f"This worker's engine ({info.version}) has {words}.",
        hint=f"{would} Set [worker] engine, or ask for less in lumper.toml.",
    )

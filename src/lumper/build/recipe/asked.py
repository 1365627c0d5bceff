"""What a recipe asks of the engine besides reading its Dockerfile, as plain values, and what is made of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lumper.build.capabilities import needs
from lumper.build.port import BuildRequest, Cache, Capability, Limits
from lumper.build.recipe.tag_templates import Template
from lumper.model.images.image import CACHE_TAG, is_cache_tag, is_repository, is_tag

INLINE = "inline"
_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?"
)
_EXPORTED = {"image-manifest": "true", "oci-mediatypes": "true"}
"""Caches as images are: what other registries than BuildKit's own refuse is an index of layers."""


@dataclass(frozen=True)
class Caching:
    """Where caches come from and go to: `HOST/REPOSITORY[:TAG]`, `:TAG` of the project's own, or to `inline`.

    `whole`: with the layers of all stages. `spare`: the build goes without, where the engine has no such caches.
    """

    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    whole: bool = True
    spare: bool = False


OWN_CACHE = Caching((f":{CACHE_TAG}",), (f":{CACHE_TAG}",), spare=True)


@dataclass(frozen=True)
class RecipePlace:
    """A repository of another registry, HOST/REPOSITORY, and its own templates of tags, None for those of the image."""

    repository: str
    tags: tuple[Template, ...] | None = None

    @property
    def host(self) -> str:
        """Its registry."""
        return self.repository.partition("/")[0]


@dataclass(frozen=True)
class Asked:
    """The wishes of a recipe, as BuildRequest has them.

    `timeout` and `silence` are in seconds, 0 for what the worker has. `secrets` are the names of the project's secrets
    by the ids in the Dockerfile, `ssh` ids of its keys. `push` is where the image goes to as well.
    Projects of one `cache_group` share their cache mounts.
    """

    platforms: tuple[str, ...] = ()
    cache: Caching = field(default_factory=Caching)
    network: str = ""
    limits: Limits = field(default_factory=Limits)
    timeout: float = 0.0
    silence: float = 0.0
    provenance: str = ""
    sbom: bool = False
    reproducible: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict)
    ssh: tuple[str, ...] = ()
    push: tuple[RecipePlace, ...] = ()
    cache_group: str = ""

    def put_into(self, request: BuildRequest, own: str) -> BuildRequest:
        """The request with all of this. `own` is the project's repository with its host, for caches."""
        mode = {"mode": "max" if self.cache.whole else "min"}
        return replace(
            request,
            platforms=self.platforms,
            cache_from=tuple(Cache("registry", {"ref": _named(name, own)}) for name in self.cache.sources),
            cache_to=tuple(
                Cache(INLINE) if name == INLINE else Cache("registry", {"ref": _named(name, own), **mode, **_EXPORTED})
                for name in self.cache.targets
            ),
            network=self.network,
            limits=self.limits,
            provenance=self.provenance,
            sbom=self.sbom,
            rewrite_timestamp=self.reproducible,
        )

    def told(self) -> dict[str, Any]:
        """What is not the default, for the provenance of the image: of secrets their names only."""
        found: dict[str, Any] = {
            "platforms": list(self.platforms),
            "cache": {"from": list(self.cache.sources), "to": list(self.cache.targets)} if any_of(self.cache) else {},
            "network": self.network,
            "reproducible": self.reproducible,
            "secrets": sorted(self.secrets),
            "ssh": list(self.ssh),
            "push": [place.repository for place in self.push],
        }
        return {key: value for key, value in found.items() if value}


def any_of(cache: Caching) -> bool:
    """Whether there is any cache."""
    return bool(cache.sources or cache.targets)


def without_spare_caches(request: BuildRequest, capabilities: frozenset[Capability]) -> BuildRequest:
    """The request without its caches, if the engine has not all that they need."""
    lacking = needs(request).keys() - capabilities
    if lacking & {Capability.CACHE_IMPORT, Capability.CACHE_EXPORT}:
        return replace(request, cache_from=(), cache_to=())
    return request


def shorter(asked: float, most: float) -> float:
    """How many seconds something may take: what was asked for, but no more than the worker allows; 0 is any number.

    >>> shorter(0, 3600), shorter(60, 3600), shorter(7200, 3600), shorter(60, 0)
    (3600, 60, 3600, 60)
    """
    return min(asked or most, most or asked)


def span(seconds: float) -> str:
    """A limit of time as people say it.

    >>> span(3), span(300), span(5400), span(7200)
    ('3 seconds', '5 minutes', '90 minutes', '2 hours')
    """
    for unit, size in (("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}s"
    return f"{seconds:g} second{'s' if seconds != 1 else ''}"


def reference_problem(name: str) -> str:
    """Why this is no `HOST/REPOSITORY[:TAG]`, or "".

    >>> reference_problem("registry.example.com/team/app:main"), reference_problem("localhost:5000/app")
    ('', '')
    """
    host, slash, rest = name.partition("/")
    if not slash or not _HOST.fullmatch(host) or not ("." in host or ":" in host or host == "localhost"):
        return f"{name!r}: name the registry too, such as registry.example.com/team/app"
    repository, colon, tag = rest.partition(":")
    if not is_repository(repository) or (colon and not is_tag(tag)):
        return f"{name!r} is not the name of an image"
    return ""


def cache_problem(name: str, *, export: bool) -> str:
    """Why a cache cannot come from there, or go there; or ""."""
    if name.startswith(":"):
        return "" if is_cache_tag(name[1:]) else f"{name!r}: tags for caches are :{CACHE_TAG} and :{CACHE_TAG}-NAME"
    if name == INLINE and export:
        return ""
    return reference_problem(name)


def platform_problem(name: str) -> str:
    """Why this is no platform, or "". Source: containerd, platforms, "OS/ARCH[/VARIANT]"."""
    if re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9_.]+)?", name) and len(name) <= 60:
        return ""
    return f"{name!r} is not a platform, such as linux/arm64 or linux/arm/v7"


def twice(names: Sequence[str]) -> str:
    """The first name that is there twice, or ""."""
    return next((name for number, name in enumerate(names) if name in names[:number]), "")


def _named(name: str, own: str) -> str:
    return own + name if name.startswith(":") else name

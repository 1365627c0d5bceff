"""Base images at the digests that they had once: named contexts in their place.

Source: docker/docs, "Build context", "named contexts"; moby/buildkit, frontend/dockerui/namedcontext.go. The parsers of
Dockerfiles have them since docker/dockerfile 1.4 (BuildKit 0.10); those before pay no heed to them.
"""

from __future__ import annotations

from collections.abc import Iterable

from lumper.model.builds.build import Base

_HUB = ("docker.io/library/", "docker.io/")


def pins(bases: Iterable[Base]) -> dict[str, str]:
    """From names of contexts to images. Bases of which a stage could have the name are left out: it would be replaced.

    >>> pins([Base("docker.io/library/alpine:3.20", "sha256:ab"), Base("docker.io/library/alpine:latest", "sha256:cd")])
    {'alpine:3.20': 'docker-image://docker.io/library/alpine:3.20@sha256:ab'}
    """
    named = {_familiar(base.name): f"docker-image://{base.name}@{base.digest}" for base in bases}
    return {name: image for name, image in named.items() if ":" in name or "/" in name}


def _familiar(name: str) -> str:
    for prefix in _HUB:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return name.removesuffix(":latest")

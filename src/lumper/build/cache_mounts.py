"""Namespaces for the caches of `RUN --mount=type=cache`: a project has its own, unless it is in a cache group. Pure.

Source: moby/buildkit, frontend/dockerfile/docs/reference.md, "BuildKit built-in build args".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lumper.build.port import BuildRequest
from lumper.errors import BuildRefused
from lumper.model.patterns import matches

CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
"""The build argument by which BuildKit keeps cache mounts apart. A recipe may not set it."""


def engine_args(request: BuildRequest) -> dict[str, str]:
    """The build arguments for BuildKit, with the namespace of the cache mounts in place of any that is given."""
    own = {CACHE_NAMESPACE: request.cache_mounts} if request.cache_mounts else {}
    return {**request.args, **own}


def namespace(project: str, project_id: str, group: str, allowed: Mapping[str, Sequence[str]]) -> str:
    """The namespace of a project's cache mounts. `allowed` are patterns of project names by cache group.

    Raises BuildRefused for a group that the project is not allowed.
    """
    if not group:
        return f"project-{project_id}"
    if matches(tuple(allowed.get(group, ())), project):
        return f"group-{group}"
    raise BuildRefused(
        f'lumper.toml asks for the cache group "{group}", which this worker does not allow for {project}.',
        hint=f'Remove `cache_group`, or ask the operator to allow it: `{group} = ["{project}"]` in'
        " [worker.cache_groups].",
    )

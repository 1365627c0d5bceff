"""Where an image comes from, as SLSA provenance v1 tells it. Pure.

Source: https://slsa.dev/spec/v1.0/provenance. docs/how-to/origin.md tells what the fields of our build type mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from lumper.model.builds.build import Base, Build
from lumper.model.source import parse_git_url

PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://lumper.dev/build/dockerfile/v1"


def provenance(build: Build, url: str, instance: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The predicate. `url` is the git repository's, `instance` ours; `parameters` are what the recipe asked for."""
    repository = parse_git_url(url).url
    source = {"repository": repository, "ref": build.ref}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"source": source, "recipe": dict(parameters)},
            "internalParameters": {"project": build.project, "trigger": build.trigger.value, "image": build.image},
            "resolvedDependencies": [_commit(repository, build), *map(_base, build.bases)],
        },
        "runDetails": {
            "builder": {"id": instance, "version": {"lumper": version("lumper")}},
            "metadata": {
                "invocationId": f"{instance}/builds/{build.id}?attempt={build.attempt}",
                **({"startedOn": _time(build.started_at)} if build.started_at else {}),
                **({"finishedOn": _time(build.finished_at)} if build.finished_at else {}),
            },
        },
    }


def _commit(repository: str, build: Build) -> dict[str, Any]:
    return {"uri": f"git+{repository}@{build.ref}", "digest": {"gitCommit": build.commit}}


def _base(base: Base) -> dict[str, Any]:
    """An image as a package URL: purl-spec, types, "oci"."""
    algorithm, _, value = base.digest.partition(":")
    place, _, tag = base.name.rpartition(":") if ":" in base.name.rpartition("/")[2] else (base.name, "", "")
    name = place.rpartition("/")[2]
    tagged = f"&tag={quote(tag, safe='')}" if tag else ""
    uri = f"pkg:oci/{name}@{quote(base.digest, safe='')}?repository_url={quote(place, safe='/')}{tagged}"
    return {"uri": uri, "name": base.name, "digest": {algorithm: value}}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""The keys of `[build]` that tell how to build: for which platforms, with which caches, within which limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lumper.build.port import Limits
from lumper.build.recipe.asked import (
    OWN_CACHE,
    Asked,
    Caching,
    RecipePlace,
    cache_problem,
    platform_problem,
    reference_problem,
    twice,
)
from lumper.build.recipe.image_tags import Templates, templates
from lumper.build.recipe.values import Seconds, Table, as_tuple
from lumper.config.sizes import size
from lumper.model.builds.secrets import is_secret_name

_DEFAULT_AGENT = "default"  # the id that RUN --mount=type=ssh has without one
_FEWEST_BYTES, _MOST_BYTES = 6 << 20, 1 << 50  # the kernel starts no container with less than 6 MiB


def _platform(value: str) -> str:
    return _right(value, platform_problem(value))


def _source(value: str) -> str:
    return _right(value, cache_problem(value, export=False))


def _target(value: str) -> str:
    return _right(value, cache_problem(value, export=True))


def _right(value: str, problem: str) -> str:
    if problem:
        raise ValueError(problem)
    return value


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if again := twice(values):
        raise ValueError(f"{again!r} is there twice")
    return values


def _id(value: str) -> str:
    if not is_secret_name(value):
        raise ValueError(f"{value!r} is not the name of a secret: at most 64 letters, digits, and `_`, `.`, `-`")
    return value


def _secrets(value: object) -> object:
    """A list of names as a table: each is its own id."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
        raise ValueError('give names, such as ["npm"], or a table { id = "name" }')
    _once(tuple(value))
    return {name: name for name in value}


def _ssh(value: object) -> object:
    if isinstance(value, bool):
        return (_DEFAULT_AGENT,) if value else ()
    return as_tuple(value)


def _place(value: str) -> str:
    if problem := reference_problem(value):
        raise ValueError(problem)
    if ":" in value.rpartition("/")[2]:
        raise ValueError(f"{value!r}: the tags are those of the image; give others with `tags`")
    return value


def _push(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


def _choice(value: object) -> object:
    if value not in ("none", "host"):
        raise ValueError('give "none" or "host"; without the key it is the engine\'s own network')
    return value


def _detail(value: object) -> object:
    if value not in ("min", "max"):
        raise ValueError('give "min" or "max"')
    return value


Platforms = Annotated[
    tuple[Annotated[str, AfterValidator(_platform)], ...],
    Field(max_length=20),
    BeforeValidator(as_tuple),
    AfterValidator(_once),
]
Sources = Annotated[
    tuple[Annotated[str, AfterValidator(_source)], ...], Field(max_length=10), BeforeValidator(as_tuple)
]
Targets = Annotated[
    tuple[Annotated[str, AfterValidator(_target)], ...], Field(max_length=10), BeforeValidator(as_tuple)
]
Bytes = Annotated[int, Field(ge=_FEWEST_BYTES, le=_MOST_BYTES), BeforeValidator(size, json_schema_input_type=int | str)]
Cpus = Annotated[float, Field(ge=0.01, le=4096, allow_inf_nan=False)]
Id = Annotated[str, AfterValidator(_id)]
Secrets = Annotated[
    dict[Id, Id],
    Field(max_length=50),
    BeforeValidator(_secrets, json_schema_input_type=list[str] | dict[str, str]),
]
Ssh = Annotated[
    tuple[Id, ...],
    Field(max_length=10),
    BeforeValidator(_ssh, json_schema_input_type=bool | list[str]),
    AfterValidator(_once),
]
CacheGroup = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Network = Annotated[Literal["none", "host"], BeforeValidator(_choice)]
Detail = Annotated[Literal["min", "max"], BeforeValidator(_detail)]


class CacheTable(Table):
    """`cache`: where the cache comes from, and where it goes to."""

    sources: Annotated[Sources, Field(alias="from")] = ()
    targets: Annotated[Targets, Field(alias="to")] = ()
    mode: Detail = "max"


class OwnCache(CacheTable):
    """`cache = true`: the project's own repository, where the engine can."""

    sources: Sources = OWN_CACHE.sources
    targets: Targets = OWN_CACHE.targets


def _cache(value: object) -> object:
    if isinstance(value, bool):
        return OwnCache() if value else None
    if not isinstance(value, dict):
        raise ValueError('give true, or a table { from = ["…"], to = ["…"] }')
    return value


class PushTable(Table):
    """One of `push` as a table: a repository of another registry, and which tags the image gets there."""

    to: Annotated[str, AfterValidator(_place)]
    tags: Templates | None = None


Places = Annotated[
    tuple[Annotated[PushTable, BeforeValidator(_push, json_schema_input_type=str | PushTable)], ...],
    Field(max_length=10),
    BeforeValidator(as_tuple),
]


class AskedTable(Table):
    """How to build."""

    platforms: Platforms = ()
    cache: Annotated[CacheTable | None, BeforeValidator(_cache, json_schema_input_type=bool | CacheTable)] = None
    network: Network | None = None
    memory: Bytes | None = None
    cpus: Cpus | None = None
    timeout: Seconds | None = None
    silence_timeout: Seconds | None = None
    provenance: Detail | None = None
    sbom: bool = False
    reproducible: bool = False
    secrets: Secrets = Field(default={})
    ssh: Ssh = ()
    push: Places = ()
    cache_group: CacheGroup = ""

    def asked(self) -> Asked:
        """All of it as values."""
        return Asked(
            platforms=self.platforms,
            cache=_caching(self.cache),
            network=self.network or "",
            limits=Limits(self.memory or 0, self.cpus or 0.0),
            timeout=self.timeout or 0.0,
            silence=self.silence_timeout or 0.0,
            provenance=self.provenance or "",
            sbom=self.sbom,
            reproducible=self.reproducible,
            secrets=self.secrets,
            ssh=self.ssh,
            push=tuple(RecipePlace(one.to, None if one.tags is None else templates(one.tags)) for one in self.push),
            cache_group=self.cache_group,
        )


def _caching(cache: CacheTable | None) -> Caching:
    if cache is None:
        return Caching()
    return Caching(cache.sources, cache.targets, cache.mode == "max", isinstance(cache, OwnCache))

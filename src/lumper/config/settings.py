"""The configuration: one frozen value with typed sections.

Later sources win: the defaults, a TOML file, environment variables, the command line. An option `key` of section
`[section]` is `LUMPER_SECTION_KEY` in the environment; an option that holds a secret may instead be named in
`LUMPER_SECTION_KEY_FILE`, a file that holds it. `reference.toml` beside this module lists every option.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from lumper.config.layout import CONFIG_FILE, default_data
from lumper.config.sizes import size
from lumper.config.toml_lines import locate
from lumper.errors import ConfigError, Problem

_TABLES = ("mail.people", "registry.upstream", "worker.ssh_agent", "worker.cache_groups")  # only in the file


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError("give HOST:PORT, such as 127.0.0.1:5080 or [::]:5080")
    return value


def _loopback(value: str) -> str:
    host, _ = split_address(_address(value))
    try:
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near:
        raise ValueError("give an address of loopback, such as 127.0.0.1:5081: nothing is encrypted there")
    return value


def split_address(value: str) -> tuple[str, int]:
    """Host, without brackets, and port of HOST:PORT."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as exc:
        raise ValueError("give an address, or a network such as 10.0.0.0/8 or fd00::/8") from exc


def _parts(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
SizeOrNone = Annotated[int, BeforeValidator(size), Field(ge=0)]
Address = Annotated[str, AfterValidator(_address)]
Loopback = Annotated[str, AfterValidator(_loopback)]
Pattern = Annotated[str, Field(pattern=r"^(\*\*|[a-z0-9._*-]{1,255})(/[a-z0-9._*-]{1,255})*$")]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(_parts)]
Seconds = Annotated[float, Field(gt=0)]
Hosts = Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9*._:/-]{1,255}$")], ...], BeforeValidator(_parts)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9._=-]{1,60}$")]
Labels = Annotated[tuple[Label, ...], BeforeValidator(_parts)]
Frontend = Annotated[str, Field(pattern=r"^[A-Za-z0-9*._:/-]{1,255}$")]
Project = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*/-]{1,255}$")]
CacheGroup = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Projects = Annotated[tuple[Project, ...], BeforeValidator(_parts)]
Refs = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], BeforeValidator(_parts)]
Entitlement = Literal["network.host", "security.insecure", "device"]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_parts)]


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerConfig(Section):
    """`[server]`: the one port for webhooks, pages, API and registry."""

    listen: Address = "127.0.0.1:5080"
    public_url: str = Field(default="", pattern=r"^(https?://[^/\s]+/?)?$")
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    local_listen: Loopback = "127.0.0.1:5081"
    trusted_proxies: Networks = ()

    @model_validator(mode="after")
    def _both_or_none(self) -> ServerConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("give both tls_certificate and tls_key, or none of them")
        return self


class DatabaseConfig(Section):
    """`[database]`: where history is kept. Empty: SQLite in the data folder."""

    url: SecretStr = SecretStr("")
    secrets_key_file: Path | None = None


class QueueConfig(Section):
    """`[queue]`: what carries messages between roles. Empty: SQLite in the data folder."""

    url: SecretStr = SecretStr("")


class UpstreamConfig(Section):
    """`[registry.upstream.NAME]`: a registry whose images appear here under a prefix, fetched when they are asked for.

    Without a prefix it is NAME.
    """

    url: str = Field(pattern=r"^https?://[^/?#@\s]+/?$")
    prefix: str = Field(default="", pattern=r"^[a-z0-9]+([._/-]+[a-z0-9]+)*$|^$", max_length=128)
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    auth_host: str = Field(default="", pattern=r"^[A-Za-z0-9.:\[\]-]*$")
    ca_file: Path | None = None
    ttl: float = Field(default=300, ge=0, le=366 * 86_400)
    keep_days: float = Field(default=30, ge=0, le=36_600)
    only: Annotated[tuple[str, ...], BeforeValidator(_parts)] = ()
    default: bool = False


class RegistryConfig(Section):
    """`[registry]`: where images lie, and who may pull them. Without a storage they lie in the data folder."""

    storage: str = ""
    endpoint: str = Field(default="", pattern=r"^(https?://[^/?#\s]+/?)?$")
    region: str = Field(default="us-east-1", pattern=r"^[A-Za-z0-9-]{1,64}$")
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    ca_file: Path | None = None
    redirect: bool = True
    anonymous: Literal["none", "pull", "push"] = "none"
    anonymous_repositories: Annotated[tuple[Pattern, ...], BeforeValidator(_parts)] = ("**",)
    untagged: Literal["keep", "delete"] = "keep"
    rate_limit: float = Field(default=0, ge=0, le=1e6)
    anonymous_rate_limit: float = Field(default=100, ge=0, le=1e6)
    pull_limit: int = Field(default=0, ge=0, le=10**9)
    pull_window: float = Field(default=3600, ge=1, le=366 * 86_400)
    gc_interval: float = Field(default=600, ge=0, allow_inf_nan=False)
    gc_grace: float = Field(default=3600, gt=0, le=366 * 86_400)
    undo_days: float = Field(default=7, ge=0, le=36_600)
    activity_days: int = Field(default=365, ge=0, le=36_600)
    keep_free: int = Field(default=64, ge=0, le=1 << 40)
    upstream: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")], UpstreamConfig] = {}

    @model_validator(mode="after")
    def _upstreams_differ(self) -> Self:
        if len({one.prefix or name for name, one in self.upstream.items()}) < len(self.upstream):
            raise ValueError("two upstreams have the same prefix")
        if sum(one.default for one in self.upstream.values()) > 1:
            raise ValueError("only one upstream can be the default")
        return self


class ConnectConfig(Section):
    """`[connect]`: how a role that runs on its own reaches the server."""

    server: str = Field(default="", pattern=r"^(https?://[^/\s]+/?)?$")
    token_file: Path | None = None


class WorkerConfig(Section):
    """`[worker]`: who builds, and with what."""

    name: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    concurrency: int = Field(default=2, ge=1, le=64)
    labels: Labels = ()
    engine: str = Field(
        default="unix:///var/run/docker.sock", pattern=r"^(((buildkitd\+)?(unix:///|tcp://)|buildah:/).+|buildah)$"
    )
    engine_ca: Path | None = None
    engine_certificate: Path | None = None
    engine_key: Path | None = None
    builder: str = Field(default="", pattern=r"^([A-Za-z][A-Za-z0-9._-]{0,99})?$")
    registry: str = ""
    build_timeout: Seconds = 3600.0
    push_timeout: Seconds = 3600.0
    silence_timeout: float = Field(default=0.0, ge=0)
    direct_push: bool = True
    log_size: SizeOrNone = 1 << 30
    engine_disk: SizeOrNone = 50 << 30
    frontends: Annotated[tuple[Frontend, ...], BeforeValidator(_parts)] = ("docker/dockerfile",)
    entitlements: Annotated[tuple[Entitlement, ...], BeforeValidator(_parts)] = ()
    memory: SizeOrNone = 0
    cpus: float = Field(default=0.0, ge=0, le=4096)
    ssh_agent: dict[Project, Refs] = {}
    cache_groups: dict[CacheGroup, Projects] = {}


class GitConfig(Section):
    """`[git]`: how repositories are fetched."""

    allow_local: Paths = ()
    timeout: Seconds = 600.0
    max_size: Size = 10 << 30
    mirror_days: float = Field(default=90, ge=0, le=36_600)
    mirror_total: SizeOrNone = 50 << 30
    ssh_key: Path | None = None
    ssh_known_hosts: Path | None = None
    allow_private: bool = True
    allow_hosts: Hosts = ()


class MailConfig(Section):
    """`[mail]`: how results are mailed. Without a host they land in a maildir in the data folder."""

    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    timeout: Seconds = 30.0
    sender: str = "lumper@localhost"
    admin: str = ""
    people: dict[str, str] = {}


class DeployConfig(Section):
    """`[deploy]`: where services run."""

    host: str = Field(default="local", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    engine: str = Field(default="unix:///var/run/docker.sock", pattern=r"^(unix:///|tcp://).+$")
    registry: str = ""
    with_server: bool = True


class LogConfig(Section):
    """`[log]`: what Lumper itself logs, to standard error, and how long the logs of builds are kept."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
    keep_days: float = Field(default=365, ge=0, le=36_600)
    keep_bytes: SizeOrNone = 20 << 30
    delivery_days: float = Field(default=90, ge=0, le=36_600)


class Config(Section):
    """Everything that can be set. `data` is the folder under which all that Lumper keeps lies."""

    data: Path = Field(default_factory=default_data)
    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    queue: QueueConfig = QueueConfig()
    registry: RegistryConfig = RegistryConfig()
    connect: ConnectConfig = ConnectConfig()
    worker: WorkerConfig = Field(default_factory=WorkerConfig)
    git: GitConfig = GitConfig()
    mail: MailConfig = MailConfig()
    deploy: DeployConfig = DeployConfig()
    log: LogConfig = LogConfig()

    @property
    def listen(self) -> tuple[str, int]:
        """Host (without brackets) and port to bind."""
        return split_address(self.server.listen)


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Read all sources and check them together.

    `file` must exist; without it, `LUMPER_CONFIG` or /etc/lumper/lumper.toml is read if there is one. `overrides` are
    dotted keys, such as `server.listen`; None values are passed over. Raises ConfigError with every problem at once.
    """
    environment = os.environ if environment is None else environment
    file = file or (Path(environment["LUMPER_CONFIG"]) if environment.get("LUMPER_CONFIG") else None)
    text = _read(file or CONFIG_FILE, must_exist=file is not None)
    name = str(file or CONFIG_FILE)
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(name, (Problem(getattr(exc, "lineno", 0), "", str(exc)),)) from exc
    places: dict[str, str] = {}
    problems = _apply_environment(values, environment, places)
    for key, value in (overrides or {}).items():
        if value is not None:
            _put(values, key, value)
            places[key] = "on the command line"
    try:
        config = Config.model_validate(values)
    except ValidationError as exc:
        problems += [_problem(error, text, places) for error in exc.errors()]
    if problems:
        raise ConfigError(
            name if text else "The configuration", tuple(problems), hint="`lumper config` shows all keys."
        )
    return config


def _read(file: Path, *, must_exist: bool) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as exc:
        if must_exist:
            raise ConfigError(str(file), (Problem(0, "", "there is no such file"),)) from exc
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(str(file), (Problem(0, "", f"it cannot be read: {exc}"),)) from exc


def _put(values: dict[str, Any], key: str, value: object) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value


def options() -> dict[str, Any]:
    """Every option by its dotted key, with the pydantic field that describes it."""
    found: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found |= {f"{name}.{key}": inner for key, inner in kind.model_fields.items()}
        else:
            found[name] = field
    return found


def without_effect(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that begin as those of options do and are of none, each with the one that may be meant, or "".

    They are no error: what starts containers sets some of its own for a service that is called `lumper-registry`.
    Source: Kubernetes, "Service", "Environment variables".
    """
    known = [name for variable, _, field in _variables() for name in _spellings(variable, field)]
    sections = tuple(f"LUMPER_{key.split('.')[0].upper()}_" for key in options() if "." in key)
    lost = sorted(name for name in environment if name.startswith(sections) and name not in known)
    return {name: next(iter(get_close_matches(name, known, n=1)), "") for name in lost}


def _variables() -> list[tuple[str, str, Any]]:
    """Of each option that is no table: its variable, its dotted key, its field."""
    found = [("LUMPER_" + key.upper().replace(".", "_"), key, field) for key, field in options().items()]
    return [each for each in found if each[1] not in _TABLES]


def _spellings(variable: str, field: Any) -> list[str]:
    return [variable, variable + "_FILE"] if field.annotation is SecretStr else [variable]


def _apply_environment(values: dict[str, Any], environment: Mapping[str, str], places: dict[str, str]) -> list[Problem]:
    problems = []
    for variable, key, field in _variables():
        if variable in environment:
            _put(values, key, environment[variable])
            places[key] = f"in {variable}"
        elif field.annotation is SecretStr and variable + "_FILE" in environment:
            path = Path(environment[variable + "_FILE"])
            places[key] = f"in {variable}_FILE"
            try:
                _put(values, key, path.read_text("utf-8").strip())
            except (OSError, UnicodeDecodeError) as exc:
                problems.append(Problem(0, f"{variable}_FILE", f"{path} cannot be read: {exc}"))
    return problems


def _problem(error: Any, text: str, places: Mapping[str, str]) -> Problem:
    keys = [str(part) for part in error["loc"]]
    dotted = ".".join(keys)
    words = {"extra_forbidden": "there is no such option"}.get(
        error["type"], error["msg"].removeprefix("Value error, ")
    )
    place = places.get(dotted, "")
    return Problem(0 if place else locate(text, keys), dotted, f"{words} ({place})" if place else words)

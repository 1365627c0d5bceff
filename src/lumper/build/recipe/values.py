"""The values that stand in `lumper.toml`: what each may be, and the words that say so."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lumper.build.cache_mounts import CACHE_NAMESPACE
from lumper.build.recipe.tag_checks import fields_problem, template_problem
from lumper.model.deployment import Port
from lumper.model.images.image import is_repository
from lumper.model.patterns import pattern_problem

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")  # what the Engine takes for containers and volumes
_PORT = re.compile(
    r"(?:(?:(?P<address>[0-9.]+|\[[0-9a-fA-F:.]+\]):)?(?P<host>\d{0,5}):)?(?P<container>\d{1,5})(?:/(?P<protocol>\w+))?",
    re.ASCII,
)


class Table(BaseModel):
    """A table of the file: closed to keys that it does not know, and nothing is taken for what it is not."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _inside(path: str) -> str:
    if path.startswith("/"):
        raise ValueError("give a path relative to the repository, without a leading slash")
    if not path or any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise ValueError("give a path; it may not be empty or have control characters in it")
    if ".." in path.split("/"):
        raise ValueError("the path may not leave the repository: `..` is not allowed")
    return posixpath.normpath(path)


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character is not allowed")
    return value


def _variable(name: str) -> str:
    if not name or "=" in name or any(ord(char) < 33 or ord(char) == 127 for char in name):
        raise ValueError("the name of a variable has no `=`, spaces or control characters in it")
    return name


def _build_argument(name: str) -> str:
    if name == CACHE_NAMESPACE:
        raise ValueError(f"Lumper sets {name} itself; projects that share cache mounts have the same `cache_group`")
    return _variable(name)


def _name(value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise ValueError("a name has up to 63 letters, digits, `_`, `.` and `-`, and begins with a letter or digit")
    return value


def _argv(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('give a list of words, such as ["sh", "-c", "…"]')
    return tuple(value) if isinstance(value, list) else value


def _port(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('give a port such as 80, "8080:80" or "127.0.0.1:8080:80/tcp"')
    match = _PORT.fullmatch(value)
    if match is None:
        if re.search(r"\d-\d", value):
            raise ValueError(f"{value!r}: ranges are not supported; list each port")
        raise ValueError(f'{value!r} is not a port; write 80, "8080:80" or "127.0.0.1:8080:80/tcp"')
    container, host = int(match["container"]), int(match["host"] or 0)
    if not 0 < container < 65536 or host > 65535:
        raise ValueError(f"{value!r}: ports go from 1 to 65535")
    protocol = match["protocol"] or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"{value!r}: the protocol is tcp, udp or sctp")
    address = (match["address"] or Port(container).address).strip("[]")
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError as exc:
        raise ValueError(f"{value!r}: {address} is not an IP address") from exc
    return Port(container=container, host=host, address=address, protocol=protocol)


def as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _pattern(value: str) -> str:
    if words := pattern_problem(value):
        raise ValueError(words)
    return value


Patterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(as_tuple)]


def _volumes(value: object) -> object:
    """A list of `name:/path` as a table."""
    if not isinstance(value, list):
        return value
    table: dict[str, str] = {}
    for item in value:
        if not isinstance(item, str):
            raise ValueError('give volumes as a table { name = "/path" } or as a list ["name:/path"]')
        name, colon, path = item.partition(":")
        if not colon:
            raise ValueError(f"{item!r}: give a name and a path in the container, such as data:/data")
        if name in table:
            raise ValueError(f"{name!r} is there twice")
        table[name] = path
    return table


def _volume_name(name: str) -> str:
    if name.startswith(("/", ".", "~")):
        raise ValueError(
            f"{name!r} is a path of the host: a repository may not reach into the machine that runs it;"
            " use a named volume"
        )
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name for a volume: letters, digits, `_`, `.` and `-`")
    return name


def _volume_path(path: str) -> str:
    if ":" in path:
        raise ValueError(f"{path!r}: options such as `:ro` are not supported")
    if not path.startswith("/") or "\0" in path or ".." in path.split("/") or posixpath.normpath(path) in ("/", "//"):
        raise ValueError(f"{path!r}: give an absolute path in the container, below `/` and without `..`")
    return path


def _http_path(path: str) -> str:
    if path and (not path.startswith("/") or any(ord(char) < 33 or ord(char) == 127 for char in path)):
        raise ValueError("give the path of a URL, such as /healthz")
    return path


Text = Annotated[str, AfterValidator(_text)]
TreePath = Annotated[str, AfterValidator(_inside)]
Variables = dict[Annotated[str, AfterValidator(_variable)], Text]
BuildArguments = dict[Annotated[str, AfterValidator(_build_argument)], Text]
Command = Annotated[tuple[Text, ...], BeforeValidator(_argv)]
PublishedPort = Annotated[Port, BeforeValidator(_port, json_schema_input_type=int | str)]
PublishedPorts = Annotated[tuple[PublishedPort, ...], BeforeValidator(as_tuple)]
Volumes = Annotated[
    dict[Annotated[str, AfterValidator(_volume_name)], Annotated[str, AfterValidator(_volume_path)]],
    BeforeValidator(_volumes, json_schema_input_type=dict[str, str] | list[str]),
]
Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _template_text(value: str) -> str:
    if words := template_problem(value):
        raise ValueError(words)
    return value


def _affix(value: str) -> str:
    bare = re.sub(r"\{\{[^{}]*\}\}", "", value)
    if words := fields_problem(value):
        raise ValueError(words)
    if len(value) > 100 or not re.fullmatch(r"[a-zA-Z0-9._-]*", bare):
        raise ValueError("what is put around a tag has letters, digits, `_`, `.` and `-`")
    return value


def _label(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9](?:[a-zA-Z0-9._/-]{0,253}[a-zA-Z0-9])?", name):
        raise ValueError("the name of a label has letters, digits, `.`, `_`, `/` and `-`")
    return name


def _latest(value: object) -> object:
    if value != "auto" and not isinstance(value, bool):
        raise ValueError('give true, false or "auto"')
    return value


def _on_latest(value: object) -> object:
    if value not in ("prefix", "suffix") and not isinstance(value, bool):
        raise ValueError('give true, false, "prefix" or "suffix"')
    return value


def _below(value: str) -> str:
    if value and not is_repository(value):
        raise ValueError(
            "give the name of a repository below the project's: lower case letters, digits, `.`, `_`, `-`, `/`"
        )
    return value


def _image_name(name: str) -> str:
    if not is_repository(name) or len(name) > 63 or "/" in name:
        raise ValueError("the name of an image has up to 63 lower case letters, digits, `.`, `_` and `-`")
    return name


TemplateText = Annotated[str, AfterValidator(_template_text)]
Affix = Annotated[str, AfterValidator(_affix)]
Labels = dict[Annotated[str, AfterValidator(_label)], Text]
Latest = Annotated[Literal["auto"] | bool, BeforeValidator(_latest)]
OnLatest = Annotated[Literal["prefix", "suffix"] | bool, BeforeValidator(_on_latest)]
HttpPath = Annotated[str, AfterValidator(_http_path)]
Below = Annotated[str, AfterValidator(_below)]
ImageName = Annotated[str, AfterValidator(_image_name)]

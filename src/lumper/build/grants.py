"""What a Dockerfile may ask of the worker beyond building: programs that read it, and rights of the machine. Pure.

`# syntax=IMAGE` makes the engine fetch that image and run it as the reader of the Dockerfile. It may call the engine in
every way that a build can, and flaws of exactly that door have let images out of their cage (CVE-2024-23651 to -23653,
CVE-2026-33747). So the image must be one that the operator trusts, and only what was found here is run: without it, the
engine is told to read the Dockerfile itself.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lumper.build.port import BuildRequest, Limits
from lumper.errors import BuildRefused
from lumper.model.builds.secrets import may_have
from lumper.model.patterns import matches

OFFICIAL = "docker/dockerfile"
_HOST_NETWORK = "network.host"
_Number = TypeVar("_Number", int, float)
_ARGUMENT = "BUILDKIT_SYNTAX"  # takes the place of the line: BuildKit's docs, "Custom Dockerfile syntax"
_DIRECTIVE = re.compile(rb"[ \t\f\v]*(?:#|//)[ \t\f\v]*([a-zA-Z][a-zA-Z0-9]*)[ \t\f\v]*=[ \t\f\v]*(\S+).*")


@dataclass(frozen=True)
class Grants:
    """What the operator grants to all builds of this worker.

    `frontends` are repositories of syntax images, with or without `:TAG` (with `*`). `entitlements` are BuildKit's
    names of rights: `network.host`, `security.insecure`, `device`. `limits` are what each step may use at most.
    `agent` is the socket of the worker's own ssh agent, which builds may use of the projects that fit the patterns in
    `agent_for`: of tags, and of the branches that fit what these have.
    `cache_groups` are patterns of the projects that may use each.
    """

    frontends: Sequence[str] = (OFFICIAL,)
    entitlements: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    agent: str = ""
    agent_for: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cache_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def agent_of(self, project: str, ref: str) -> str:
        """The socket of the ssh agent that a build of this ref may use, "" for none."""
        fitting = (branches for pattern, branches in self.agent_for.items() if matches((pattern,), project))
        return self.agent if any(may_have(ref, branches) for branches in fitting) else ""

    def granted(self, request: BuildRequest, dockerfile: bytes) -> BuildRequest:
        """The request with what it is granted. Raises BuildRefused for what is more than that."""
        self._check_network(request.network)
        limits = Limits(
            _within(request.limits.memory, self.limits.memory, "bytes of memory"),
            _within(request.limits.cpus, self.limits.cpus, "CPUs"),
        )
        request = replace(request, entitlements=tuple(self.entitlements), limits=limits)
        image = syntax_image(dockerfile, request.args)
        if not image:
            return request
        if any(_fits(pattern, image) for pattern in self.frontends):
            return replace(request, frontend=image)
        if is_official(image):  # the engine has the same parser within, of another version
            return request
        raise BuildRefused(
            f"{_where(dockerfile)} asks for the syntax image {image[:200]!r}, which this worker does not trust.",
            hint="Remove the `# syntax=` line, or have the operator add the image to [worker] frontends.",
        )

    def _check_network(self, network: str) -> None:
        if network == "host" and _HOST_NETWORK not in self.entitlements:
            raise BuildRefused(
                'lumper.toml asks for the network "host", which this worker does not grant.',
                hint="Remove `network`, or have the operator add network.host to [worker] entitlements.",
            )


def _within(asked: _Number, most: _Number, what: str) -> _Number:
    """What a step may use; 0: any number. Raises BuildRefused if more is asked for."""
    if most and asked > most:
        raise BuildRefused(
            f"lumper.toml asks for {asked:g} {what}, and this worker gives a build at most {most:g}.",
            hint="Ask for less, or have the operator raise [worker] memory or cpus.",
        )
    return asked or most


def syntax_image(dockerfile: bytes, args: Mapping[str, str]) -> str:
    """The image that is asked for as the reader of the Dockerfile, or "".

    Directives stand in comments before anything else, in lines with `#` or `//`, or in a JSON document.
    """
    if given := args.get(_ARGUMENT, "").split():
        return given[0]
    found = _directive(dockerfile)
    return found[1] if found else _in_json(dockerfile)


def syntax_line(dockerfile: bytes) -> int:
    """The line that asks for such an image, 0 if it is not a line of its own."""
    found = _directive(dockerfile)
    return found[0] if found else 0


def _where(dockerfile: bytes) -> str:
    line = syntax_line(dockerfile)
    return f"Line {line} of the Dockerfile" if line else "The Dockerfile"


def _directive(dockerfile: bytes) -> tuple[int, str] | None:
    for number, line in enumerate(dockerfile.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        match = _DIRECTIVE.fullmatch(line.rstrip(b"\r"))
        if match is None and not (number == 1 and line.startswith(b"#!")):
            break
        if match and match[1].lower() == b"syntax":
            return number, match[2].decode("utf-8", "replace")
    return None


def _in_json(dockerfile: bytes) -> str:
    if not dockerfile.lstrip().startswith(b"{"):
        return ""
    try:
        value, _ = json.JSONDecoder().raw_decode(dockerfile.decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError):
        return ""
    found = value.get("syntax", "") if isinstance(value, dict) else ""
    return str(found).split()[0] if isinstance(found, str) and found.strip() else ""


def is_official(image: str) -> bool:
    """Whether it is the parser of which every engine has some version within."""
    return _repository(image)[0] == OFFICIAL


def _fits(pattern: str, image: str) -> bool:
    repository, tag = _repository(image)
    wanted, wanted_tag = _repository(pattern)
    return fnmatch.fnmatchcase(repository, wanted) and (
        not wanted_tag or fnmatch.fnmatchcase(tag or "latest", wanted_tag)
    )


def _repository(image: str) -> tuple[str, str]:
    """Repository and tag, without digest; Docker Hub's names without its host."""
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    name = f"{head}/{last}" if head else last
    for host in ("docker.io/", "index.docker.io/", "registry-1.docker.io/"):
        name = name.removeprefix(host)
    return name, tag

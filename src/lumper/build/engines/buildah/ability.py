"""What buildah can do on this machine, found by trying: not each has a runtime, network plugins, and rights."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lumper.build.engines.programs.process import Program
from lumper.build.port import Capability

_NOTHING = "/lumper-nothing"
_MISSING = re.compile(rf'exec: \\?"{_NOTHING}\\?":|fork/exec {_NOTHING}: no such file|`{_NOTHING}` not found')
"""In the words of runc, of buildah itself (chroot), and of crun."""

_ALWAYS = frozenset(
    {
        Capability.PLATFORMS,
        Capability.SECRETS,
        Capability.SSH,
        Capability.LOGINS,
        Capability.NETWORK_HOST,
        Capability.REWRITE_TIMESTAMP,
        Capability.DOCKERFILE_APART,
    }
)
_LIMITS = ("--memory=64m", "--memory-swap=64m", "--cpu-period=100000", "--cpu-quota=50000")
"""Of a container that is only tried."""


@dataclass(frozen=True)
class Isolation:
    """A way to execute RUN steps: buildah's `--isolation`, `--runtime`, and the network that steps get by default."""

    kind: str
    runtime: str = ""
    network: str = ""

    @property
    def arguments(self) -> list[str]:
        """For `build` and `run`."""
        runtime = [f"--runtime={self.runtime}"] if self.runtime else []
        return [f"--isolation={self.kind}", *runtime]


@dataclass(frozen=True)
class Ability:
    """What was found. `platform` is OS/ARCH; `limits`: the kernel lets this user limit what steps use."""

    version: str
    platform: str
    isolation: Isolation
    limits: bool = True

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Without containers there is neither a network of one's own nor a limit."""
        if self.isolation.kind == "chroot":
            return _ALWAYS
        return _ALWAYS | {Capability.NETWORK_NONE} | ({Capability.LIMITS} if self.limits else frozenset())

    @property
    def note(self) -> str:
        """What a person should know of the way in which steps are executed, "" if all is as it should be."""
        if self.isolation.kind == "chroot":
            return "steps run without containers (chroot), in this machine's network"
        return "steps run in this machine's network" if self.isolation.network == "host" else ""

    def arguments(self, network: str) -> list[str]:
        """How a build whose request asks for this network executes its steps."""
        wanted = network or self.isolation.network
        return [*self.isolation.arguments, *([f"--network={wanted}"] if wanted else [])]


async def find_ability(program: Program) -> Ability:
    """Ask buildah for its version and try the ways of execution, the tightest first. Raises EngineUnavailable."""
    asked = await program.run("version", "--json")
    try:
        told = json.loads(asked.output)
        version, platform = str(told["version"]), str(told["osArch"])
    except (ValueError, KeyError, TypeError) as exc:
        raise program.unavailable(asked.words or "it does not tell its version") from exc
    isolation = await _isolation(program)
    async with _container(program, *_LIMITS) as container:
        limits = isolation.kind != "chroot" and not await _trouble(program, container, isolation)
    return Ability(version, platform, isolation, limits)


async def _isolation(program: Program) -> Isolation:
    async with _container(program) as container:
        words = ""
        for isolation in _ways():
            words = await _trouble(program, container, isolation)
            if not words:
                return isolation
    raise program.unavailable(f"it can execute nothing: {words.removeprefix('Error: ')}")


@asynccontextmanager
async def _container(program: Program, *options: str) -> AsyncIterator[str]:
    made = await program.run("from", *options, "scratch")
    if made.code:
        raise program.unavailable(made.words.removeprefix("Error: "))
    container = made.output.decode("utf-8", "replace").strip()
    try:
        yield container
    finally:
        await program.run("rm", "--", container)


async def _trouble(program: Program, container: str, isolation: Isolation) -> str:
    """Why nothing can be executed in this way, or ""."""
    network = [f"--network={isolation.network}"] if isolation.network else []
    tried = await program.run("run", *isolation.arguments, *network, "--", container, _NOTHING)
    return "" if _only_the_program_is_missing(tried.words) else tried.words or "no reason was given"


def _ways() -> list[Isolation]:
    """What may work here, as root or as a user; an operator's BUILDAH_ISOLATION is the only one then."""
    kind = os.environ.get("BUILDAH_ISOLATION") or ("oci" if os.geteuid() == 0 else "rootless")
    if kind == "chroot":
        return [Isolation("chroot")]
    named = os.environ.get("BUILDAH_RUNTIME")
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    runtimes = [named] if named else [found for name in ("runc", "crun") if (found := shutil.which(name, path=path))]
    ways = [Isolation(kind, runtime, network) for network in ("", "host") for runtime in runtimes]
    return ways if os.environ.get("BUILDAH_ISOLATION") else [*ways, Isolation("chroot")]


def _only_the_program_is_missing(words: str) -> bool:
    """Whether everything was ready to execute a program that is not there: then it can execute one that is."""
    return _MISSING.search(words) is not None

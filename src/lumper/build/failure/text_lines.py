"""From what an engine says, where it names no step and no line, to the instruction that it must mean. Pure.

Docker Engine 20.10 tells neither for what it finds wrong before the first step. Texts: moby/buildkit,
frontend/dockerfile/dockerfile2llb.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from lumper.build.context.dockerfile import Instruction, instructions
from lumper.build.failure.step_lines import images_in, may_be

_PLATFORM = re.compile(r"--platform=(\S*)")
_MOUNT = re.compile(r"--mount=(\S+)")


def instruction_meant(message: str, dockerfile: bytes) -> Instruction | None:
    """The first instruction that fits; None if the text is not known, or none fits."""
    for pattern, fits in _MEANT:
        if match := pattern.search(message):
            return next((one for one in instructions(dockerfile) if fits(one, match[1])), None)
    return None


def _takes(one: Instruction, name: str) -> bool:
    return any(written == name or may_be(written, name) for written in images_in(one))


def _is_for(one: Instruction, platform: str) -> bool:
    return any(may_be(written, platform) for written in _PLATFORM.findall(one.shown))


def _mounts_at(one: Instruction, target: str) -> bool:
    mounts = [mount.split(",") for mount in _MOUNT.findall(one.shown)] if one.keyword == b"RUN" else []
    return any(posixpath.normpath(f"/{_target(mount)}") == target for mount in mounts)


def _target(options: list[str]) -> str:
    found = [value for key, _, value in (each.partition("=") for each in options) if key in _TARGETS]
    return found[0] if found else ""


_TARGETS = ("target", "dst", "destination")
_MEANT: tuple[tuple[re.Pattern[str], Callable[[Instruction, str], bool]], ...] = (
    (re.compile(r"base name \((.*)\) should not be blank"), _takes),
    (re.compile(r"failed to parse stage name \"(.*?)\":"), _takes),
    (re.compile(r"invalid stage index (\d+)"), _takes),
    (re.compile(r"circular dependency detected on stage: (\S+?)\.?$"), _takes),
    (re.compile(r"(?:copy|mount) from stage \"(.*?)\""), _takes),
    (re.compile(r"failed to parse platform (.*?): "), _is_for),
    (re.compile(r"invalid mount target \"(.*?)\""), _mounts_at),
)

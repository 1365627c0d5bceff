"""From the name that an engine gives to a step to the line of the Dockerfile that it executes. Pure.

BuildKit counts the steps of a stage that change files, after its FROM unless that takes another stage or nothing;
buildah counts all instructions. Source: moby/buildkit, frontend/dockerfile/dockerfile2llb, `prefixCommand`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lumper.build.dockerfile import Instruction, instructions, stage_name

_STEP = re.compile(
    r"\[(?:[a-z][a-z0-9]*/\S+ +)?(?:(?P<stage>[^\s\]]+) +)?(?P<number>\d+)/(?P<total>\d+)\] (?P<text>.*)", re.DOTALL
)
_BASE_STEP = re.compile(r"\[internal\] load metadata for (\S+)")
_BASE = re.compile(rb"FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE)
_COUNTED = (b"RUN", b"COPY", b"ADD", b"WORKDIR")


@dataclass
class _Stage:
    names: frozenset[str]
    first: Instruction
    rest: list[Instruction] = field(default_factory=list)


def line_of(step: str, dockerfile: bytes) -> int:
    """The line where the instruction of this step begins; 0 if that cannot be said for certain.

    >>> line_of("[2/2] RUN make", b"FROM a\\nENV b=c\\nRUN make\\n")
    3
    """
    stages = _stages(dockerfile)
    if base := _BASE_STEP.fullmatch(step):
        named = [stage.first.line for stage in stages if _base(stage.first) == _familiar(base[1])]
        return named[0] if named else 0
    match = _STEP.fullmatch(step)
    if match is None:
        return 0
    if match["stage"]:
        stages = [stage for stage in stages if match["stage"].lower() in stage.names]
    if len(stages) != 1:  # of several that have one name, too
        return 0
    return _within(stages[0], int(match["number"]), int(match["total"]), match["text"])


def _within(stage: _Stage, number: int, total: int, text: str) -> int:
    alike = [
        one.line for one in (stage.first, *stage.rest) if _words(one.text.decode("utf-8", "replace")) == _words(text)
    ]
    if len(alike) == 1:
        return alike[0]
    counted = [one for one in stage.rest if one.keyword in _COUNTED]
    every = [stage.first, *stage.rest]
    for one in (_numbered(steps, number, total) for steps in ([stage.first, *counted], counted, every)):
        if one is not None and one.keyword == text.split(None, 1)[0].upper().encode():
            return one.line
    return 0


def _numbered(steps: Sequence[Instruction], number: int, total: int) -> Instruction | None:
    return steps[number - 1] if len(steps) == total and 0 < number <= total else None


def _words(text: str) -> str:
    """An instruction as it can be compared: engines join lines in ways of their own."""
    keyword, _, rest = text.strip().partition(" ")
    return f"{keyword.upper()} {''.join(rest.split())}"


def _base(instruction: Instruction) -> str:
    match = _BASE.match(instruction.text)
    return _familiar(match[1].decode("utf-8", "replace")) if match else ""


def _familiar(image: str) -> str:
    """The name of an image as people write it."""
    return image.removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")


def _stages(dockerfile: bytes) -> list[_Stage]:
    stages: list[_Stage] = []
    for one in instructions(dockerfile):
        if one.keyword == b"FROM":
            stages.append(_Stage(frozenset({stage_name(one).lower() or f"stage-{len(stages)}"}), one))
        elif stages:
            stages[-1].rest.append(one)
    return stages

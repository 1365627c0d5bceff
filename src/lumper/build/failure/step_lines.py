"""From the name that an engine gives to a step to the instruction of the Dockerfile that it executes. Pure.

BuildKit counts the steps of a stage that change files, after its FROM unless that takes another stage or nothing;
buildah counts all instructions. Source: moby/buildkit, frontend/dockerfile/dockerfile2llb, `prefixCommand`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lumper.build.context.dockerfile import Instruction, instructions, stage_name

_STEP = re.compile(
    r"\[(?:[a-z][a-z0-9]*/\S+ +)?(?:(?P<stage>[^\s\]]+) +)?(?P<number>\d+)/(?P<total>\d+)\] (?P<text>.*)", re.DOTALL
)
_IMAGE_STEP = re.compile(r"(?:\[internal\] load metadata for|FROM) (?:docker-image://)?([^\s@]+)\S*")
_FETCHED = re.compile(r"(?:\[[^\]]*\] )?((?:https?|git|ssh)://\S+)")
_BASE = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE)
_FROM = re.compile(r"\bfrom=([^\s,]+)")
_VARIABLE = re.compile(r"\\?\$(?:\{[^}]*\}|\w+)")
_COUNTED = (b"RUN", b"COPY", b"ADD", b"WORKDIR")


@dataclass
class _Stage:
    names: frozenset[str]
    first: Instruction
    rest: list[Instruction] = field(default_factory=list)


def instruction_of(step: str, dockerfile: bytes) -> Instruction | None:
    """The instruction of this step; None if that cannot be said for certain.

    >>> instruction_of("[2/2] RUN make", b"FROM a\\nENV b=c\\nRUN make\\n").line
    3
    """
    stages = _stages(dockerfile)
    if image := _IMAGE_STEP.fullmatch(step):
        return _naming(image[1], stages)
    if match := _FETCHED.fullmatch(step):
        adding = [one for stage in stages for one in stage.rest if one.keyword == b"ADD"]
        return next((one for one in adding if any(_fetches(word, match[1]) for word in one.words[:-1])), None)
    if match := _STEP.fullmatch(step):
        if match["stage"]:
            stages = [stage for stage in stages if match["stage"].lower() in stage.names]
        if len(stages) != 1:  # of several that have one name, too
            return None
        return _within(stages[0], int(match["number"]), int(match["total"]), match["text"])
    return None


def instruction_at(line: int, dockerfile: bytes, keyword: str = "") -> Instruction | None:
    """The instruction that this line belongs to, unless it is another one than `keyword`."""
    found = [one for one in instructions(dockerfile) if one.line <= line]
    if not found or (keyword and found[-1].keyword != keyword.upper().encode()):
        return None
    return found[-1]


def keyword_of(step: str) -> str:
    """The first word of the instruction that a step's name tells, "" if it tells none."""
    match = _STEP.fullmatch(step)
    return match["text"].split(None, 1)[0] if match and match["text"].strip() else ""


def _fetches(word: str, url: str) -> bool:
    return "://" in word and may_be(word, url)


def _naming(image: str, stages: Sequence[_Stage]) -> Instruction | None:
    """The first instruction that takes something of this image, or else the only one that may, by its variables."""
    wanted, unsure = _familiar(image), []
    for one in (one for stage in stages for one in (stage.first, *stage.rest)):
        names = [_familiar(name) for name in images_in(one)]
        if wanted in names:
            return one
        unsure += [one] if any(may_be(name, wanted) for name in names) else []
    return unsure[0] if len(unsure) == 1 else None


def images_in(instruction: Instruction) -> list[str]:
    """The images and stages that an instruction takes something of, as they are written."""
    match = _BASE.match(instruction.shown)
    return [match[1]] if match else _FROM.findall(instruction.shown)


def may_be(written: str, told: str) -> bool:
    """Whether what an engine tells may be what is written, where that has variables."""
    if not _VARIABLE.search(written):
        return written == told
    return re.fullmatch(".*".join(re.escape(part) for part in _VARIABLE.split(written)), told) is not None


def _within(stage: _Stage, number: int, total: int, text: str) -> Instruction | None:
    alike = [one for one in (stage.first, *stage.rest) if _words(one.shown) == _words(text)]
    if len(alike) == 1:
        return alike[0]
    counted = [one for one in stage.rest if one.keyword in _COUNTED]
    every = [stage.first, *stage.rest]
    for one in (_numbered(steps, number, total) for steps in ([stage.first, *counted], counted, every)):
        if one is not None and one.keyword == text.split(None, 1)[0].upper().encode():
            return one
    return None


def _numbered(steps: Sequence[Instruction], number: int, total: int) -> Instruction | None:
    return steps[number - 1] if len(steps) == total and 0 < number <= total else None


def _words(text: str) -> str:
    """An instruction as it can be compared: engines join lines in ways of their own."""
    keyword, _, rest = text.strip().partition(" ")
    return f"{keyword.upper()} {''.join(rest.split())}"


def _familiar(image: str) -> str:
    """The name of an image as people write it, without the digest that they or the engine add."""
    return image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")


def _stages(dockerfile: bytes) -> list[_Stage]:
    stages: list[_Stage] = []
    for one in instructions(dockerfile):
        if one.keyword == b"FROM":
            stages.append(_Stage(frozenset({stage_name(one).lower() or f"stage-{len(stages)}"}), one))
        elif stages:
            stages[-1].rest.append(one)
    return stages

"""Why a variable in a FROM has no value. Pure.

Source: docs.docker.com, "Dockerfile reference", "Understand how ARG and FROM interact".
"""

from __future__ import annotations

import json
import re

from lumper.build.context.dockerfile import Instruction, instructions

_USED = re.compile(r"\$(?:\{(\w+)\}|(\w+))")  # those with a default of their own have a value
_DECLARED = re.compile(r"(\w+)(?:=(.*))?")
_KNOWN = ("TARGET", "BUILD")  # what the engine itself gives: TARGETPLATFORM, BUILDARCH


def unset(found: Instruction, dockerfile: bytes) -> str:
    """What to do about the first variable of a FROM that has no value; "" if all may have one."""
    for match in _USED.finditer(found.shown):
        name = match[1] or match[2]
        if hint := _why_unset(name, dockerfile):
            return hint
    return ""


def _why_unset(name: str, dockerfile: bytes) -> str:
    if name.startswith(_KNOWN):
        return ""
    before, stage_begun = None, False
    for one in instructions(dockerfile):
        stage_begun = stage_begun or one.keyword == b"FROM"
        if one.keyword != b"ARG":
            continue
        values = {match[1]: match[2] for word in one.words if (match := _DECLARED.fullmatch(word))}
        if name not in values:
            continue
        if stage_begun and before is None:
            return f"FROM knows only what ARG says before the first FROM: move `ARG {name}` there from line {one.line}."
        if not stage_begun:
            before = (values[name] or "").strip("\"'")
    if before is None:
        return f"{name} is not known there: write `ARG {name}=…` before the first FROM."
    given = f"[build] args = {{ {name} = {json.dumps('…', ensure_ascii=False)} }}"
    return "" if before else f"{name} has no value: give its ARG one, or lumper.toml: {given}."

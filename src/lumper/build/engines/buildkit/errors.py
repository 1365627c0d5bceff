"""From BuildKit's error texts to what a person reads. Pure.

BuildKit's texts are the interface here: Engine 20.10 sends nothing else. Those of 20.10 and of the current release are
known; an unknown one is passed on without the prefixes that name BuildKit's own rooms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lumper.build.engines.registry_words import FULL, image_hint, sentence
from lumper.errors import (
    BuildFailed,
    BuildRefused,
    DockerfileMissing,
    EngineError,
    FrontendUnavailable,
)
from lumper.model.builds.build import Step

_ROOMS = re.compile(
    r"^(?:failed to solve(?: with frontend [\w.-]+)?|rpc error: code = \w+ desc =|failed to create LLB definition"
    r"|failed to (?:build|load) LLB|failed to (?:load|compute) cache key|failed to calculate checksum of ref \S+"
    r"|failed to do request|failed to resolve source metadata for \S+|failed to authorize"
    r"|executor failed running \[.*\]|process \".*\" did not complete successfully"
    r"|(?:Head|Get|Post|Put|Patch) \"[^\"]*\"|dial tcp):? ?(?<=[ :=])"
)
_MISSING = re.compile(r"failed to read dockerfile: .*(?:no such file or directory|not found)", re.DOTALL)
_PARSER = re.compile(r"dockerfile parse error (?:on )?line (\d+): (.*)", re.DOTALL)
_EXIT = re.compile(r"(?:executor failed running|did not complete successfully).*exit code: (\d+)$", re.DOTALL)
_CODE_ALONE = re.compile(r"(?:failed to solve(?: with frontend [\w.-]+)?: )?exit code: (\d+)")
_SYNTAX_STEP = re.compile(r"resolve image config for (?:docker-image://)?(\S+)")
_IMAGE_STEP = re.compile(r"(?:\[internal\] load metadata for|(?:\[[^\]]*\] )?FROM) (?:docker-image://)?(\S+)")
_NOT_GRANTED = re.compile(r"\b(?P<right>network\.host|security\.insecure|device)\b[^\n]{0,300}? is not allowed")
_LOST = re.compile(r"context cancell?ed$|no active sessions?\b|transport is closing|error reading from server: EOF")
_NO_SECRET = re.compile(r"secret \"?([\w.-]+?)\"?:? not found")
_NO_AGENT = re.compile(r"no ssh (?:key \"([\w.-]*)\" )?forwarded", re.IGNORECASE)
_INNER_PATH = re.compile(
    r"(?<![^\s\"])/\S*?/(?:buildkit-mount\d+|overlay2/\w+/(?:merged|diff)|snapshots/\d+/fs)(?=/|:|\s|$)"
)
_WALKED = re.compile(r"(?:failed to \w+ \S+: )?\bl?stat (\S+): no such file or directory")
_EXIT_HINTS = {
    126: "A program that it calls cannot be executed: look at its mode and its platform.",
    127: "A program that it calls is not in the image at this point.",
    137: "It was killed; most often there was not enough memory.",
}
_FULL_HINT = "Free some space on the machine of the build engine: `docker system df` shows where it went."


def is_syntax_step(name: str) -> bool:
    """Whether a step fetches the syntax image."""
    return _SYNTAX_STEP.match(name) is not None


def is_lost(text: str) -> bool:
    """Whether a build that nobody cancelled ended because the engine stops or has lost us."""
    return _LOST.search(text) is not None


def exit_code_alone(text: str) -> str:
    """The exit code with which a syntax image ended that gave no reason, "" if it is anything else."""
    match = _CODE_ALONE.fullmatch(text)
    return match[1] if match else ""


def build_error(text: str, failures: Sequence[Step], dockerfile: str, line: int = 0) -> EngineError:
    """The error for a build that BuildKit ended with `text`, after these steps had failed.

    `line` is that of the Dockerfile which it tells with the text, 0 if none.
    """
    error = _error(text, failures, dockerfile)
    if isinstance(error, BuildFailed):
        error.line = line
    return error


def _error(text: str, failures: Sequence[Step], dockerfile: str) -> EngineError:
    if _MISSING.search(text):
        return DockerfileMissing(f"There is no {dockerfile} at this commit.")
    if match := _NOT_GRANTED.search(text):
        return BuildRefused(f"A step of {dockerfile} asks for {match['right']}, which this worker does not grant.")
    step = next((step for step in failures if step.error in text), failures[0] if failures else None)
    if step is not None:
        return _step_error(step)
    if match := _PARSER.search(text):
        return BuildFailed(f"{dockerfile}, line {match[1]}: {sentence(match[2])}")
    return BuildFailed(f"The build failed: {sentence(reason(text))}", hint=_FULL_HINT if FULL.search(text) else "")


def _step_error(step: Step) -> BuildFailed:
    if match := _SYNTAX_STEP.match(step.name):
        text = f"The syntax image {match[1]} cannot be fetched: {sentence(reason(step.error))}"
        return FrontendUnavailable(text, step=step.name)
    if match := _IMAGE_STEP.match(step.name):
        text = f"The base image {match[1]} cannot be fetched: {sentence(reason(step.error))}"
        hint = _FULL_HINT if FULL.search(step.error) else image_hint(step.error, "daemon.json")
        return BuildFailed(text, hint=hint, step=step.name)
    if match := _EXIT.search(step.error):
        code = int(match[1])
        text = f"Step `{step.name}` ended with exit code {code}."
        return BuildFailed(text, hint=_EXIT_HINTS.get(code, ""), step=step.name, exit_code=code)
    text = f"Step `{step.name}` failed: {sentence(reason(step.error))}"
    return BuildFailed(text, hint=_FULL_HINT if FULL.search(step.error) else _lacking(step.error), step=step.name)


def _lacking(text: str) -> str:
    """What to do about a secret or an agent that the step must have and was not given."""
    if match := _NO_SECRET.search(text):
        return f'lumper.toml has to ask for it: [build] secrets = ["{match[1]}"].'
    if match := _NO_AGENT.search(text):
        value = "true" if match[1] in (None, "", "default") else f'["{match[1]}"]'
        return f"lumper.toml has to ask for it: [build] ssh = {value}."
    return ""


def reason(text: str) -> str:
    """The text without the leading parts that only say where in BuildKit it was raised, and without its own paths."""
    text = _WALKED.sub(r'"\1": not found', _INNER_PATH.sub("", text))
    while (shorter := _ROOMS.sub("", text, count=1)) != text and shorter:
        text = shorter
    return text.removesuffix(": not found") if text.endswith("not found: not found") else text

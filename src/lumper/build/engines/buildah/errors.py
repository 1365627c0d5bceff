"""From buildah's error texts to what a person reads. Pure.

Its texts are the interface here; those of 1.28 are known, and an unknown one is passed on.
"""

from __future__ import annotations

import re

from lumper.build.engines.registry_words import FULL, image_hint, sentence
from lumper.errors import BuildFailed, EngineError
from lumper.model.builds.build import Step

_AT_STEP = re.compile(r'(?:error )?building at STEP "(?P<step>.*?)": (?P<why>.*)', re.DOTALL)
_EXIT = re.compile(r"(?:(?:error )?while running runtime: )?exit status (\d+)")
_KILLED = re.compile(r"(?:(?:error )?while running runtime: )?signal: (?P<signal>[a-z ]+)")
_INSTRUCTION = re.compile(r'Build error: Unknown instruction: "([^"]*)"', re.IGNORECASE)
_BASE = re.compile(r"(?:error )?creating build container: (?P<why>.*)", re.DOTALL)
_SOURCE = re.compile(
    r'(?:error )?checking on sources under "[^"]*": copier: stat: (?P<path>.*): no such file or directory'
)
_UNREAD = re.compile(r'(?:error )?reading "[^"]*?/context/(?P<path>[^"]*)": (?:error )?encoding request for copier.*')
_MOUNT = re.compile(r"(secret|ssh) required but no (?:secret|ssh) with id (\S+) found$")
_ROOMS = re.compile(
    r"^(?:initializing source \S+|pinging container registry \S+|(?:Head|Get) \"[^\"]*\"|dial tcp|building|"
    r"unable to retrieve auth token|copying system image from manifest list): ?"
)
_NOTHING = ("no contents in ", "no stages to build", "building: no stages to build")
_IMAGE = re.compile(r"\[[^\]]*\] FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE)
_FULL_HINT = "Free some space on the machine of the worker: buildah's images lie in its data folder."
_EXIT_HINTS = {
    126: "A program that it calls cannot be executed: look at its mode and its platform.",
    127: "A program that it calls is not in the image at this point.",
    137: "It was killed; most often there was not enough memory.",
}
_NO_VALUE = "Old versions of buildah break on options of --mount that have no value: write `required=true`."
_TOO_OLD = "buildah reads here-documents (`<<`) from 1.33 on: install a newer one, or write the step without."


def build_error(text: str, step: Step, trouble: str, dockerfile: str, content: str) -> EngineError:
    """The error for a build that buildah ended with `text` in this step.

    `trouble` is why a program could not be started, `content` the text of the Dockerfile, to find a line in.
    """
    if text.startswith(_NOTHING):
        return BuildFailed(f"{dockerfile} is empty.", hint="Write a Dockerfile, or name another one in lumper.toml.")
    if match := _INSTRUCTION.search(text):
        return _unknown(match[1], dockerfile, content)
    found = _AT_STEP.fullmatch(text)
    why = found["why"] if found else text
    if match := _EXIT.fullmatch(why):
        return _exit(step, int(match[1]), trouble)
    if match := _KILLED.fullmatch(why):
        return BuildFailed(f"Step `{step.name}` was ended by the signal: {match['signal']}.", step=step.name)
    if match := _BASE.fullmatch(text):
        return _base(step, match["why"])
    if match := _SOURCE.fullmatch(why):
        return BuildFailed(f"Step `{step.name}` failed: {match['path']} was not found.", step=step.name)
    if match := _UNREAD.fullmatch(why):  # its helper found nothing, and had ended before it was told all
        return BuildFailed(
            f"Step `{step.name}` failed: {match['path']} was not found, or leads out of the context.", step=step.name
        )
    if match := _MOUNT.search(why):
        return BuildFailed(f"Step `{step.name}` failed: the {match[1]} {match[2]} was not found.", step=step.name)
    if text.startswith("panic: "):
        hint = _NO_VALUE if "required" in step.name else ""
        return BuildFailed(f"Step `{step.name}` made buildah itself break down: {sentence(text)}", hint=hint)
    hint = _FULL_HINT if FULL.search(why) else ""
    if step.name and (found or why.startswith(("COPY", "ADD"))):
        return BuildFailed(f"Step `{step.name}` failed: {sentence(_reason(why))}", hint=hint, step=step.name)
    return BuildFailed(f"The build failed: {sentence(_reason(why))}", hint=hint)


def _exit(step: Step, code: int, trouble: str) -> BuildFailed:
    if trouble:
        return BuildFailed(f"Step `{step.name}` could not be started: {sentence(trouble)}", step=step.name)
    text = f"Step `{step.name}` ended with exit code {code}."
    return BuildFailed(text, hint=_EXIT_HINTS.get(code, ""), step=step.name, exit_code=code)


def _base(step: Step, why: str) -> BuildFailed:
    image = found[1] if (found := _IMAGE.match(step.name)) else "of this stage"
    text = f"The base image {image} cannot be fetched: {sentence(_reason(why))}"
    return BuildFailed(
        text, hint=_FULL_HINT if FULL.search(why) else image_hint(why, "registries.conf"), step=step.name
    )


def _unknown(instruction: str, dockerfile: str, content: str) -> BuildFailed:
    word = re.compile(rf"\s*{re.escape(instruction)}(?:\s|$)", re.IGNORECASE)
    line = next((number for number, line in enumerate(content.splitlines(), 1) if word.match(line)), 0)
    place = f"{dockerfile}, line {line}" if line else dockerfile
    hint = _TOO_OLD if "<<" in content else ""
    return BuildFailed(f"{place}: unknown instruction: {instruction}.", hint=hint)


def _reason(text: str) -> str:
    """The text without the leading parts that only say where it was raised."""
    while (shorter := _ROOMS.sub("", text, count=1)) != text and shorter:
        text = shorter
    return text

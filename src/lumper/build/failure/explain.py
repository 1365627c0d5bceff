"""What an engine does not tell of a failed build: in which line, why a file is not in the context, what was meant."""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
from collections.abc import Callable
from typing import Protocol

from lumper.build.context.dockerfile import Instruction, stage_names
from lumper.build.failure.mistakes import mistake
from lumper.build.failure.step_lines import instruction_at, instruction_of, keyword_of
from lumper.build.failure.text_lines import instruction_meant
from lumper.build.grants import syntax_line
from lumper.build.source.objects import Kind, printable_path
from lumper.build.source.suggestions import Names, hint_for_submodule, near, near_name
from lumper.build.syntax import newer_syntax
from lumper.errors import BuildFailed, FrontendUnavailable, LumperError

_COPY = re.compile(r"(?:^|\] )(?:COPY|ADD) ((?!.*--from=).*)", re.IGNORECASE | re.DOTALL)
_MISSING = re.compile(r"not found|no such file|no items matching|no source files", re.IGNORECASE)
_PARSED = re.compile(r", line (\d+): ")
_WITHOUT_STEP = "The build failed"
_LONGEST = 160  # characters of an instruction
_PATTERN = frozenset("*?[\\")
_TARGET = re.compile(
    r"target stage \"?([^\s\"]+)\"? could not be found|stage \"?([^\s\"]+)\"? not found", re.IGNORECASE
)


class Commit(Protocol):
    """What is asked of the commit that was built."""

    @property
    def names(self) -> Names:
        """What its folders have."""

    async def left_out_by(self, context: str, dockerfile: str, path: str) -> str:
        """Which line of an ignore file leaves a path of the context out."""

    async def dockerfile_text(self, context: str, dockerfile: str) -> bytes:
        """What the Dockerfile says."""


async def explain(
    error: BuildFailed, commit: Commit, context: str, dockerfile: str, lies_about: Callable[[str], bool] | None = None
) -> None:
    """Tell the line of the step that failed; give the error a hint, if it has none yet and there is one to give.

    `lies_about` tells whether a file of the context lies in the work tree, committed or not.
    """
    with contextlib.suppress(LumperError):  # what failed is told in any case
        text = await commit.dockerfile_text(context, dockerfile)
        path = printable_path(posixpath.normpath(f"{context}/{dockerfile}"))
        found = _place(error, path, dockerfile, text)
        error.hint = newer_syntax(error.message, text) or mistake(error.message, found, text) or error.hint
        if not error.hint:
            error.hint = await _hint(error, commit, context, dockerfile, lies_about)


def _place(error: BuildFailed, path: str, dockerfile: str, text: bytes) -> Instruction | None:
    """Say in front in which line of which Dockerfile it was, by its path in the repository; the instruction there."""
    if match := _PARSED.match(error.message.removeprefix(dockerfile)):
        error.message = f"{path}{error.message.removeprefix(dockerfile)}"
        return instruction_at(int(match[1]), text)
    if isinstance(error, FrontendUnavailable) and (line := syntax_line(text)):
        error.happened(f"{path}, line {line}")
        return None
    found = (
        instruction_of(error.step, text)
        or instruction_at(error.line, text, keyword_of(error.step))
        or instruction_meant(error.message, text)
    )
    if found is None:
        return None
    if error.step:
        error.message = error.message.replace(error.step, _short(error.step))
    error.message = error.message.replace(_WITHOUT_STEP, f"`{_short(found.shown)}` failed", 1)
    error.happened(f"{path}, line {found.line}")
    return found


def _short(step: str) -> str:
    """Who knows the line need not read all of a long instruction."""
    words = " ".join(step.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"


async def _hint(
    error: BuildFailed, commit: Commit, context: str, dockerfile: str, lies_about: Callable[[str], bool] | None
) -> str:
    if match := _TARGET.search(error.message):
        return _about_target(match[1] or match[2], stage_names(await commit.dockerfile_text(context, dockerfile)))
    if (match := _COPY.search(error.step)) and _MISSING.search(error.message):
        for path in copied(match[1]):
            if hint := await _about_file(commit, context, dockerfile, path, lies_about):
                return hint
    return ""


def copied(arguments: str) -> list[str]:
    """The files of the context that COPY or ADD with these arguments takes, without those that are patterns or URLs.

    >>> copied("--chown=1 ./a/b /c *.py https://x.test/y /to/")
    ['a/b', 'c']
    """
    words = [word for word in arguments.split() if not word.startswith("--")]
    if words and words[0].startswith("["):
        try:
            words = [str(word) for word in json.loads(" ".join(words))]
        except (ValueError, TypeError):
            return []
    plain = (word for word in words[:-1] if "://" not in word and not _PATTERN & set(word))
    return [posixpath.normpath(word).lstrip("/") for word in plain]


def _about_target(wanted: str, stages: list[str]) -> str:
    if not stages:
        return "No stage of the Dockerfile has a name: write `FROM … AS NAME`."
    meant = near(wanted, stages)
    return f"Did you mean {meant}? " * bool(meant) + f"Its stages are {', '.join(stages[:20])}."


async def _about_file(
    commit: Commit, context: str, dockerfile: str, path: str, lies_about: Callable[[str], bool] | None
) -> str:
    shown = printable_path(path)
    if path.split("/")[0] == ".git":
        return "What is built are the files of the commit, without .git; the commit's id is in the image's labels."
    if path.startswith("../"):
        where = "the repository" if context in ("", ".") else f"its context, {printable_path(context)}"
        return f"{shown} is outside of {where}: `[build] context` in lumper.toml says what COPY sees."
    kind = await _kind(commit, f"{context}/{path}")
    if hint := await hint_for_submodule(commit.names, f"{context}/{path}"):
        return hint
    if kind is not None:
        line = await commit.left_out_by(context, dockerfile, path)
        return f"{shown} is in the repository, and the line {line} leaves it out." if line else ""
    if lies_about is not None and lies_about(path):
        return f"{shown} lies in the folder, but is not committed: `git add` and `git commit` it."
    if context not in ("", ".") and await _kind(commit, path) is not None:
        return f"{shown} is in the repository, but not in the context {printable_path(context)}."
    beside = posixpath.dirname(dockerfile)
    if beside and await _kind(commit, f"{context}/{beside}/{path}") is not None:
        lies = printable_path(posixpath.normpath(f"{beside}/{path}"))
        return f"There is {lies}, beside the Dockerfile: name it so, or make that folder the context of the build."
    meant = await near_name(commit.names, f"{context}/{path}")
    return f"There is {meant}." if meant else ""


async def _kind(commit: Commit, path: str) -> Kind | None:
    folder, _, name = path.strip("/").rpartition("/")
    return (await commit.names(folder or ".")).get(name)

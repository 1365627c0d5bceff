"""What Lumper itself reads in a Dockerfile: its instructions, whether there is a stage, what stages are called. Pure.

Source: docs.docker.com, "Dockerfile reference" (parser directives, escape, comments, here-documents), and
moby/buildkit, frontend/dockerfile/parser, where the page is silent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

_ESCAPE = re.compile(rb"#\s*escape\s*=\s*(.)", re.IGNORECASE)
_DIRECTIVE = re.compile(rb"#\s*[A-Za-z][A-Za-z0-9]*\s*=")
_STAGE = re.compile(rb"FROM\s+(?:--\S+\s+)*\S+\s+AS\s+(\S+)", re.IGNORECASE)
_HERE = re.compile(rb"(?<!\S)\d*<<(-?)(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2(?=\s|$)")
_WITH_HERE = (b"RUN", b"COPY", b"ADD")


@dataclass(frozen=True)
class Instruction:
    """An instruction with its continued lines joined, and the numbers of the lines where it begins and ends."""

    line: int
    text: bytes
    last: int = field(default=0, compare=False)

    @property
    def keyword(self) -> bytes:
        """Its first word, in upper case."""
        return self.text.split(None, 1)[0].upper()

    @property
    def shown(self) -> str:
        """It as text."""
        return self.text.decode("utf-8", "replace")

    @property
    def words(self) -> list[str]:
        """What it says after its first word, without flags."""
        return [word for word in self.shown.split()[1:] if not word.startswith("--")]


def has_stage(text: bytes) -> bool:
    """Whether there is a FROM where the first instruction after ARG has to be one, or something else to complain about.

    A Docker Engine 20.10 dies of a Dockerfile that has nothing but ARG, with all builds and containers that it runs.
    So this is decided for either escape character: whoever means to harm can choose which one hides the FROM.
    """
    return all(_first_but_args(text, escape) for escape in (b"\\", b"`"))


def stage_names(text: bytes) -> list[str]:
    """The names that stages have, in order."""
    return [name for one in instructions(text) if (name := stage_name(one))]


def stage_name(instruction: Instruction) -> str:
    """The name that a FROM gives to its stage; "" if it gives none."""
    match = _STAGE.match(instruction.text)
    return match[1].decode("utf-8", "replace") if match else ""


def instructions(text: bytes, *, heredocs: bool = True) -> Iterator[Instruction]:
    """All of them, as the engine sees them: without comments, and without what stands in here-documents.

    Engines that know no `heredocs` take the lines of these for instructions.
    """
    return _instructions(text, _escape(text), heredocs=heredocs)


def copied(text: bytes) -> list[str]:
    """The paths of the context that instructions copy or mount, "." for all of it, also where that cannot be told.

    What base images add by ONBUILD, and other readers of Dockerfiles, may need more.
    """
    return [path for one in instructions(text) for path in _sources(one)]


def in_heredoc(text: bytes, line: int) -> bool:
    """Whether a line belongs to a here-document, or stands behind one before the next instruction."""
    found = list(instructions(text))
    ends = [one.line for one in found[1:]] + [len(text)]
    return any(one.line < line < end and _here_documents(one) for one, end in zip(found, ends, strict=True))


def _sources(instruction: Instruction) -> list[str]:
    """The paths of the context that an instruction names."""
    words = instruction.text.decode("utf-8", "surrogateescape").split()[1:]
    options = list(takewhile(lambda word: word.startswith("--"), words))
    rest = " ".join(words[len(options) :])
    match instruction.keyword:
        case b"RUN":
            found = [_mounted(option) for option in options if option.startswith("--mount=")]
        case b"COPY" | b"ADD" if not any(option.startswith("--from=") for option in options):
            found = _array(rest)[:-1] if rest.startswith("[") else words[len(options) : -1]
        case _:
            found = []
    return ["." if "$" in path else path for path in found if path and not path.startswith("<<")]


def _mounted(option: str) -> str:
    """What a mount has of the context: "" if nothing."""
    fields = dict(field.partition("=")[::2] for field in option.removeprefix("--mount=").split(","))
    if "from" in fields or fields.get("type", "bind") != "bind":
        return ""
    return fields.get("source") or fields.get("src") or "."


def _array(text: str) -> list[str]:
    try:
        return list(map(str, json.loads(text)))
    except ValueError:
        return [".", ""]


def directives(text: bytes) -> int:
    """How many lines at the beginning are parser directives."""
    return sum(1 for _ in takewhile(_DIRECTIVE.match, text.removeprefix(b"\xef\xbb\xbf").split(b"\n")))


def _first_but_args(text: bytes, escape: bytes) -> bytes:
    return next((one.keyword for one in _instructions(text, escape) if one.keyword != b"ARG"), b"")


def _escape(text: bytes) -> bytes:
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if match := _ESCAPE.match(line):
            return match[1]
        if not _DIRECTIVE.match(line):
            break
    return b"\\"


def _instructions(text: bytes, escape: bytes, *, heredocs: bool = True) -> Iterator[Instruction]:
    """Comments and blank lines are left out, also within an instruction."""
    joined, begun = b"", 0
    lines = enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    for number, raw in lines:
        line = raw.removesuffix(b"\r")
        start = line.lstrip()
        if not start or start.startswith(b"#"):
            continue
        begun = begun or number
        bare = line.rstrip(b" \t")
        if bare.endswith(escape):
            joined += bare.removesuffix(escape)
            continue
        joined += line
        if joined.strip():
            found = Instruction(begun, joined.strip(), number)
            yield found
            if heredocs:
                _pass_over(_here_documents(found), lines)
        joined, begun = b"", 0
    if joined.strip():
        yield Instruction(begun, joined.strip(), text.count(b"\n") + 1)


def _here_documents(instruction: Instruction) -> list[tuple[bool, bytes]]:
    """Those that follow it: whether tabs before a line do not count, and the line that ends it."""
    if instruction.keyword not in _WITH_HERE:
        return []
    return [(match[1] == b"-", match[3]) for match in _HERE.finditer(instruction.text)]


def _pass_over(documents: list[tuple[bool, bytes]], lines: Iterator[tuple[int, bytes]]) -> None:
    for without_tabs, end in documents:
        for _, raw in lines:
            line = raw.removesuffix(b"\r")
            if (line.lstrip(b"\t") if without_tabs else line) == end:
                break

"""The rules of `.dockerignore`: which files of the context the engine does not get. Pure.

Source: docs.docker.com, "Build context", section ".dockerignore files", and what moby/patternmatcher does where the
page is silent: Go's `filepath.Match` for one name, `**` for any number of folders, the last matching line decides, a
match of a folder is a match of everything in it.

A pattern is run as an automaton, never by a backtracking regular expression: the file comes from strangers, and one
line of stars must not keep a worker busy for ever.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field

from lumper.errors import Problem, RecipeError

IGNORE_LIMIT = 256 << 10  # bytes
_MAX_PATTERNS = 5000
_MAX_MEMO = 20_000  # remembered moves of one pattern

Ranges = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _One:
    """One character: in one of the ranges, or, negated, in none."""

    ranges: Ranges
    negated: bool = False

    def fits(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True)
class _Star:
    """Any characters; without `slashes`, none of them a slash."""

    slashes: bool = False


@dataclass(frozen=True)
class _Folders:
    """Nothing, or anything that ends with a slash. Two places: the entry, and the loop behind it."""

    loop: bool = False


_Token = _One | _Star | _Folders
_NO_SLASH = _One((("/", "/"),), negated=True)


@dataclass
class Pattern:
    """One line. `exception` is true for a line with `!`; `text` is how it was written."""

    tokens: tuple[_Token, ...]
    exception: bool
    text: str = ""
    _moves: dict[tuple[int, str], int] = field(default_factory=dict, repr=False)

    @property
    def start(self) -> int:
        """The state before the first character: a set of places in `tokens`, as bits."""
        return self._closed(1)

    def advance(self, state: int, text: str) -> int:
        """The state after `text`. 0 is the one that never matches."""
        moves = self._moves
        for char in text:
            if not state:
                break
            following = moves.get((state, char))
            if following is None:
                if len(moves) >= _MAX_MEMO:
                    moves.clear()
                following = moves[state, char] = self._step(state, char)
            state = following
        return state

    def accepts(self, state: int) -> bool:
        """Whether what was read so far is the whole of what the pattern names."""
        return bool(state >> len(self.tokens) & 1)

    def _step(self, state: int, char: str) -> int:
        following = 0
        for place, token in enumerate(self.tokens):
            if not state >> place & 1:
                continue
            if isinstance(token, _One):
                following |= token.fits(char) << (place + 1)
            elif isinstance(token, _Star):
                following |= (token.slashes or char != "/") << place
            elif token.loop:
                following |= 1 << place | (char == "/") << (place + 1)
        return self._closed(following)

    def _closed(self, state: int) -> int:
        """With the places that are reached without a character."""
        for place, token in enumerate(self.tokens):
            if state >> place & 1:
                if isinstance(token, _Star):
                    state |= 1 << (place + 1)
                elif isinstance(token, _Folders) and not token.loop:
                    state |= 1 << (place + 1) | 1 << (place + 2)
        return state


@dataclass
class _Folder:
    """How far each pattern has come at the end of `name/`, and whether it matched this folder or one around it."""

    name: str
    states: list[int]
    matched: list[bool]


class Ignore:
    """Says of each path whether it is left out. Quick if paths come folder by folder, as in a tar."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._patterns = tuple(patterns)
        root = _Folder("", [pattern.start for pattern in self._patterns], [False] * len(self._patterns))
        self._way = [root]

    @property
    def has_exceptions(self) -> bool:
        """Whether something may stay in a folder that is left out."""
        return any(pattern.exception for pattern in self._patterns)

    def ignores(self, path: str) -> bool:
        """`path` is relative to the context, with `/`, without one at its ends."""
        return self.line(path) is not None

    def line(self, path: str) -> str | None:
        """The line that leaves the path out; None if it stays."""
        *folders, name = path.split("/")
        way = self._way
        same = 0
        while same < len(folders) and same + 1 < len(way) and way[same + 1].name == folders[same]:
            same += 1
        del way[same + 1 :]
        for folder in folders[same:]:
            way.append(self._enter(way[-1], folder))
        ignored, line = False, None
        around = way[-1]
        for pattern, state, matched in zip(self._patterns, around.states, around.matched, strict=True):
            if pattern.exception is not ignored:
                continue
            if matched or (state and pattern.accepts(pattern.advance(state, name))):
                ignored = not pattern.exception
                line = pattern.text if ignored else None
        return line

    def _enter(self, around: _Folder, name: str) -> _Folder:
        states, matched = [], []
        for pattern, state, already in zip(self._patterns, around.states, around.matched, strict=True):
            after = pattern.advance(state, name)
            matched.append(already or pattern.accepts(after))
            states.append(pattern.advance(after, "/"))
        return _Folder(name, states, matched)


def parse_dockerignore(content: bytes, *, name: str = ".dockerignore") -> Ignore:
    """Read an ignore file. Raises RecipeError with every line that is not understood."""
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        try:
            pattern = _parse_line(line.strip())
        except ValueError as exc:
            problems.append(Problem(number, "", str(exc)))
            continue
        if pattern:
            patterns.append(pattern)
    if len(patterns) > _MAX_PATTERNS:
        problems.append(Problem(0, "", f"at most {_MAX_PATTERNS} patterns are read"))
    if problems:
        raise RecipeError(name, tuple(problems))
    return Ignore(patterns)


def name_pattern(text: str) -> Pattern:
    """What one name with wildcards means, as Go's `filepath.Match` has it. Raises ValueError."""
    return Pattern(_tokens(text), exception=False)


def _parse_line(line: str) -> Pattern | None:
    exception = line.startswith("!")
    text = line.removeprefix("!").strip()
    if not text:
        raise ValueError("there is nothing behind the `!`")
    path = posixpath.normpath(text).lstrip("/")  # as Go's filepath.Clean
    if path in ("", "."):
        return None
    return Pattern(_tokens(path), exception, line)


def _tokens(path: str) -> tuple[_Token, ...]:
    if path.startswith("**") and path[2:3] != "/" and not set(path[2:]) & set("*?[]\\"):
        return (_Star(slashes=True), *(_literal(char) for char in path[2:]))  # patternmatcher takes it as a suffix
    tokens: list[_Token] = []
    position = 0
    while position < len(path):
        char = path[position]
        if path.startswith("**", position):
            position += 3 if path.startswith("/", position + 2) else 2
            if position >= len(path):
                tokens.append(_Star(slashes=True))
            else:
                tokens += (_Folders(), _Folders(loop=True))
            continue
        position += 1
        if char == "*":
            tokens.append(_Star())
        elif char == "?":
            tokens.append(_NO_SLASH)
        elif char == "[":
            token, position = _class(path, position)
            tokens.append(token)
        else:
            if char == "\\":
                char, position = _character(path, position - 1)
            tokens.append(_literal(char))
    return tuple(tokens)


def _literal(char: str) -> _One:
    return _One(((char, char),))


def _class(path: str, position: int) -> tuple[_One, int]:
    """`[a-z]` or `[^a-z]`, from behind the bracket on (Go's path/filepath, "Match")."""
    negated = path.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and path.startswith("]", position)):
        if path.startswith(("-", "]"), position):
            raise ValueError(f"{path!r}: a `{path[position]}` in brackets needs a backslash before it")
        low, position = _character(path, position)
        high = low
        if path.startswith("-", position):
            high, position = _character(path, position + 1)
        if high < low:
            raise ValueError(f"{path!r}: the range {low}-{high} is empty")
        ranges.append((low, high))
    return _One(tuple(ranges), negated), position + 1


def _character(path: str, position: int) -> tuple[str, int]:
    if path.startswith("\\", position):
        position += 1
    if position >= len(path):
        raise ValueError(f"{path!r}: it ends in the middle of a pattern")
    return path[position], position + 1

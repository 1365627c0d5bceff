"""Find the line of a key in a TOML text: tomllib tells values, not places.

A reading of texts that tomllib accepted (TOML 1.0): it finds its way through strings, arrays and inline tables and
checks nothing. What it does not understand it passes over, to a less exact line and never to an error.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:\\.|[^"\\\n])*"' + r"|'[^'\n]*'", re.DOTALL
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")


def locate(text: str, keys: Sequence[str]) -> int:
    """The line, from 1, where the value at `keys` stands, or the nearest around it; 0 for an empty text.

    An element of an array is its number as text: `["ports", "0"]`.
    """
    places = _places(text)
    for depth in range(len(keys), 0, -1):
        if found := places.get(tuple(keys[:depth])):
            return found
    return 1 if text else 0


@lru_cache(maxsize=8)  # a file with many problems is asked for each of them
def _places(text: str) -> Mapping[tuple[str, ...], int]:
    reader = _Reader(text)
    with contextlib.suppress(_Strange, RecursionError):  # what was found until then is still right
        reader.document()
    return reader.places


class _Strange(Exception):
    """This is not what the reader expected."""


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self.places: dict[tuple[str, ...], int] = {}

    def document(self) -> None:
        table: tuple[str, ...] = ()
        while self._blank():
            if self._take("["):
                self._take("[")
                table = self._key(())
                self._expect("]")
                self._take("]")
            else:
                self._pair(table)

    def _pair(self, table: tuple[str, ...]) -> None:
        path = self._key(table)
        self._expect("=")
        self._value(path)

    def _key(self, table: tuple[str, ...]) -> tuple[str, ...]:
        """A dotted key; it and everything it makes on its way stand here."""
        path = table
        while True:
            self._blank()
            string = self._match(_STRING)
            part = _unquoted(string) if string else self._match(_BARE)
            if not part and not string:
                raise _Strange
            path = (*path, part)
            self.places.setdefault(path, self._line_here())
            self._blank()
            if not self._take("."):
                return path

    def _value(self, path: tuple[str, ...]) -> None:
        self._blank()
        if self._take("["):
            number = 0
            while self._blank() and not self._take("]"):
                self.places.setdefault((*path, str(number)), self._line_here())
                self._value((*path, str(number)))
                number += 1
                self._blank()
                self._take(",")
        elif self._take("{"):
            while self._blank() and not self._take("}"):
                self._pair(path)
                self._blank()
                self._take(",")
        elif not self._match(_STRING) and not self._match(_SCALAR):
            raise _Strange

    def _blank(self) -> bool:
        """Pass over spaces, line ends and comments; whether there is anything behind them."""
        self._match(_BLANK)
        return self._at < len(self._text)

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _take(self, char: str) -> bool:
        found = self._text.startswith(char, self._at)
        self._at += found
        return found

    def _expect(self, char: str) -> None:
        self._blank()
        if not self._take(char):
            raise _Strange

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _unquoted(string: str) -> str:
    try:
        return str(tomllib.loads(f"k = {string}")["k"])  # for its escapes
    except tomllib.TOMLDecodeError as exc:
        raise _Strange from exc

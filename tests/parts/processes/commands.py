"""Every command of the command line, as its function states it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

from cyclopts import App, Parameter

from lumper.cli.main import app

_FLAGS = ("--help", "-h", "--version")


@dataclass(frozen=True)
class Command:
    """A command such as `lumper project add`. `arguments` are as a person types them: `URL`, `--name`."""

    path: str
    function: Callable[..., Any]

    @property
    def doc(self) -> str:
        """Its docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def example(self) -> str:
        """The line that the docstring gives as an example."""
        return next((line[9:] for line in self.doc.splitlines() if line.startswith("Example: ")), "")

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters of the function, without the one that says which server is meant."""
        found = inspect.signature(self.function).parameters
        return {name: parameter for name, parameter in found.items() if parameter.annotation != "Target"}

    @property
    def meanings(self) -> list[str]:
        """What the annotation or the docstring says of each, with its default where that says something."""
        return [self._meaning(name, parameter.default) for name, parameter in self.parameters.items()]

    def _meaning(self, name: str, default: object) -> str:
        found = re.search(rf"(?m)^{name}\n((?:    .+(?:\n|$))+)", self.doc)
        words = " ".join(found[1].split()) if found else "".join(each.help or "" for each in self._extras(name))
        return f"{words} Default: `{default}`." if default and default is not inspect.Parameter.empty else words

    @property
    def arguments(self) -> list[str]:
        """What can be typed behind it."""
        return [
            self._option(name) if parameter.kind is parameter.KEYWORD_ONLY else name.upper()
            for name, parameter in self.parameters.items()
        ]

    def _option(self, name: str) -> str:
        """The name of an option, which may be another one than that of the parameter."""
        given = [typed for extra in self._extras(name) for typed in extra.name or ()]
        return given[0] if given else f"--{name.replace('_', '-')}"

    def _extras(self, name: str) -> list[Parameter]:
        """What the annotation of a parameter says to the command line."""
        hint = get_type_hints(self.function, include_extras=True)[name]
        return [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Parameter)]


def commands(of: App = app, path: str = "lumper") -> Iterator[Command]:
    """All of them."""
    for name in of:
        if name in _FLAGS:
            continue
        found = of[name]
        if found.default_command is not None:
            yield Command(f"{path} {name}", found.default_command)
        yield from commands(found, f"{path} {name}")

"""Passwords, tokens and secrets that are given in a file; on the command line everybody could read them."""

from __future__ import annotations

from pathlib import Path

from lumper.errors import Invalid

_HINT = "Name a file that holds it, and nothing else."


def line_of(file: Path, what: str) -> str:
    """The one line of a file; `what` it is goes into errors. Raises Invalid."""
    try:
        line = file.read_text("utf-8").strip()
    except OSError as exc:
        raise Invalid(f"The {what} cannot be read from {file}: {exc.strerror}.", hint=_HINT) from exc
    except UnicodeDecodeError as exc:
        raise Invalid(f"The {what} cannot be read from {file}: it is no text.", hint=_HINT) from exc
    if not line:
        raise Invalid(f"There is no {what} in {file}.", hint=_HINT)
    return line

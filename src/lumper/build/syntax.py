"""What a Dockerfile asks for that an engine's own reader does not know yet, and which one does. Pure.

Sources: docs.docker.com, "Dockerfile reference", columns "Minimum Dockerfile version", and the release notes of Docker
Engine for the version of BuildKit that each has.
"""

from __future__ import annotations

import re

from lumper.build.context.dockerfile import in_heredoc
from lumper.build.grants import is_official, syntax_image

_UNKNOWN = re.compile(r"line (\d+): unknown (?:instruction|flag): (?:--)?([^\s.=]+)", re.IGNORECASE)
_UNEXPECTED = re.compile(r"unexpected key '(\w+)'")
_SINCE = {
    "checksum": (1, 6),
    "keep-git-dir": (1, 1),
    "chmod": (1, 2),
    "link": (1, 4),
    "parents": (1, 20),
    "exclude": (1, 19),
    "unpack": (1, 17),
    "mount": (1, 2),
    "network": (1, 3),
    "security": (1, 20),
    "device": (1, 14),
    "start-interval": (1, 6),
    "env": (1, 10),
}
_LABS = frozenset({"device"})
_ENGINES = ((28, (1, 14)), (27, (1, 8)), (26, (1, 7)), (25, (1, 6)), (24, (1, 5)), (23, (1, 4)))
_HEREDOC = (1, 4)


def newer_syntax(message: str, dockerfile: bytes) -> str:
    """What to do about a Dockerfile that an engine has not understood, if it is for a newer reader; or "".

    >>> newer_syntax("Dockerfile, line 2: unknown flag: link.", b"FROM a\\nCOPY --link b c\\n")
    '`link` needs Docker Engine 23 or newer, or `# syntax=docker/dockerfile:1` as the first line.'
    """
    asked = is_official(syntax_image(dockerfile, {}))
    unknown, unexpected = _UNKNOWN.search(message), _UNEXPECTED.search(message)
    if unknown and in_heredoc(dockerfile, int(unknown[1])):
        return _needs("Here-documents (`<<`) need", _HEREDOC, "1", asked=asked)
    name = unknown[2].lower() if unknown else unexpected[1] if unexpected else ""
    if name not in _SINCE:
        return ""
    return _needs(f"`{name}` needs", _SINCE[name], "1-labs" if name in _LABS else "1", asked=asked)


def _needs(what: str, since: tuple[int, int], tag: str, *, asked: bool) -> str:
    engine = min((number for number, knows in _ENGINES if knows >= since), default=0)
    which = f"Docker Engine {engine} or newer, or " if engine and tag == "1" else ""
    if asked:
        return f"{what} {which}that the engine can fetch the image of the line `# syntax=`."
    return f"{what} {which}`# syntax=docker/dockerfile:{tag}` as the first line."

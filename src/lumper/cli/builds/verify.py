"""`lumper build verify`: whether a build gives the same image when it is built again."""

from __future__ import annotations

import sys
from typing import Any

from lumper.cli.client import Client, Target, connect
from lumper.cli.output import Json, plain, show_json, warn
from lumper.model.builds.log import from_line, render
from lumper.model.builds.terminal import visible

_HERE = Target()
_WORDS = {"reproducible": "reproducible", "differs": "not reproducible", "unknown": "not verified"}


def verify(build: int, /, *, no_wait: bool = False, json: Json = False, target: Target = _HERE) -> None:
    """Build a build once more, without any cache, and compare the images. Status 0 if they are the same, else 1.

    The second build runs on another worker, if there is one, from the same base images. It moves no tag, sends no mail
    and starts no rollout; its image is removed after the comparison. Its log goes to standard error.

    Example: lumper build verify 7

    Parameters
    ----------
    build
        The build's number.
    no_wait
        Only begin; status 0. `lumper image inspect` and the page of the build tell what came of it.
    """
    with connect(target) as client:
        found = client.post(f"builds/{build}/verify")
        _say(client, found["by"], build)
        if not no_wait:
            _follow(client, found["by"])
            found = _decided(client, build)
    if json:
        show_json(found)
    elif not no_wait:
        print(f"Build {build} is {_WORDS[found['state']]}. {plain(found['summary'])}")
        for line in differences(found):
            print(line)
    if not no_wait and found["state"] != "reproducible":
        sys.exit(1)


def _say(client: Client, second: int, build: int) -> None:
    told = client.get(f"builds/{second}")
    waits = f", and waits: {told['waits']}" if told["waits"] else ""
    warn(plain(f"Build {second} verifies build {build}{waits}."))


def _follow(client: Client, second: int) -> None:
    """Tell the log of the second build, until it has ended."""
    steps: dict[int, str] = {}
    for _, line in client.follow_log(second):
        try:
            record = from_line(line)
        except ValueError:  # of a later version
            continue
        for text in render([record], steps, visible):
            warn(text)


def _decided(client: Client, build: int) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(f"builds/{build}/verification", follow=1)
        if found["decided_at"]:
            return found


def differences(found: dict[str, Any]) -> list[str]:
    """What differs, a line each."""
    lines: list[str] = []
    for one in found["differences"]:
        where = f"{one['part']}{' of ' + one['platform'] if one['platform'] else ''}"
        lines.append(plain(f"  {where}{': ' if one['what'] else ''}{', '.join(one['what'])}"))
        lines += [plain(f"    {file['path'] or '/'}: {', '.join(file['what'])}") for file in one["files"]]
        lines += [f"    and {one['more']} more files"] if one["more"] else []
    return lines

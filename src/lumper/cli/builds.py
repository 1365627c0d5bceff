"""`lumper builds`, `log`, `cancel`, `restart`: from a tag to an image."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lumper.cli.client import Client, Target, connect
from lumper.cli.output import ago, duration, plain, show_json, table
from lumper.model.build import Progress
from lumper.model.log import from_line, render

_HERE = Target()


def builds(*, project: str = "", limit: int = 30, json: bool = False, target: Target = _HERE) -> None:
    """List the newest builds.

    Example: lumper builds --project owner/app --json

    Parameters
    ----------
    project
        Only those of one project.
    limit
        How many at most.
    json
        Print JSON.
    """
    with connect(target) as client:
        found = client.get("builds", project=project, limit=limit)
    if json:
        show_json(found)
        return
    rows = [
        (b["id"], b["state"], b["project"], b["tag"], b["commit"][:10], b["pusher"]["name"], duration(b["seconds"]),
         ago(b["created_at"]), b["digest"][:19] or b["error"][:60])
        for b in found
    ]  # fmt: skip
    columns = ("id", "state", "project", "tag", "commit", "who", "took", "when", "digest")
    table(columns, rows, empty="No builds yet: push a tag, `git tag v0.1.0 && git push --tags`.")


def log(build: int, *, follow: bool = False, attempt: int = 0, json: bool = False, target: Target = _HERE) -> None:
    """Print a build's log; the status is 1 if the build has failed.

    Example: lumper log 7 --follow

    Parameters
    ----------
    build
        The build's number.
    follow
        Go on until the build has ended.
    attempt
        Which attempt; without it, the last.
    json
        Print the records as JSON lines.
    """
    with connect(target) as client:
        lines = client.lines(f"builds/{build}/log", follow=int(follow), attempt=attempt)
        if json:
            for line in lines:
                sys.stdout.write(line.decode("ascii"))
                sys.stdout.flush()
        else:
            for text in render(_records(lines)):
                print(plain(text), flush=True)
        state = _state(client, build)
    if follow and not json:
        print(state["line"])
    if state["state"] == "failed":
        sys.exit(1)


def _records(lines: Iterator[bytes]) -> Iterator[Progress]:
    for line in lines:
        try:
            yield from_line(line)
        except ValueError:  # a line that is still being written, or of a later version
            continue


def _state(client: Client, build: int) -> dict[str, str]:
    found = client.get(f"builds/{build}")
    ending = found["digest"] or f"{found['error']} {found['hint']}".strip()
    return {"state": found["state"], "line": f"Build {build} {found['state']}: {ending}"}


def cancel(build: int, *, json: bool = False, target: Target = _HERE) -> None:
    """Cancel a build that waits or runs.

    Example: lumper cancel 7

    Parameters
    ----------
    json
        Print JSON.
    """
    _change(build, "cancel", json, target)


def restart(build: int, *, json: bool = False, target: Target = _HERE) -> None:
    """Build the same commit again.

    Example: lumper restart 7

    Parameters
    ----------
    json
        Print JSON.
    """
    _change(build, "restart", json, target)


def _change(build: int, verb: str, json: bool, target: Target) -> None:
    with connect(target) as client:
        changed = client.post(f"builds/{build}/{verb}")
    if json:
        show_json(changed)
    else:
        print(f"Build {build} is {changed['state']}.")

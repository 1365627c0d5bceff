"""`lumper builds`, `start`, `cancel`, `restart`: from a tag to an image."""

from __future__ import annotations

from typing import Any

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, duration, show_json, table, tell

_HERE = Target()
_NONE = "No builds yet: push a tag, `git tag v0.1.0 && git push --tags`."


def builds(*, project: str = "", limit: int = 30, json: Json = False, target: Target = _HERE) -> None:
    """List the newest builds.

    Example: lumper builds --project owner/app --json

    Parameters
    ----------
    project
        Only those of one project.
    limit
        How many at most.
    """
    with connect(target) as client:
        found = client.get("builds", project=project, limit=limit)
    if json:
        show_json(found)
        return
    rows = [
        (b["id"], b["state"], b["project"], b["tag"], b["recipe"], b["commit"][:10], b["pusher"]["name"],
         duration(b["seconds"]), ago(b["created_at"]), b["digest"][:19] or b["error"][:60] or _waits(b) or _verifies(b))
        for b in found
    ]  # fmt: skip
    columns = ("id", "state", "project", "tag", "recipe", "commit", "who", "took", "when", "digest")
    none = f"No builds of {project}; `lumper project list` shows all projects." if project else _NONE
    table(columns, rows, empty=none)


def _waits(build: dict[str, Any]) -> str:
    return f"{build['position']}. in the queue: {build['waits']}" if build["waits"] else ""


def _verifies(build: dict[str, Any]) -> str:
    return f"verifies {build['verifies']}" if build["verifies"] else ""


def cancel(build: int, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Cancel a build that waits or runs.

    Example: lumper cancel 7

    Parameters
    ----------
    build
        The build's number.
    """
    with connect(target) as client:
        changed = client.post(f"builds/{build}/cancel")
    words = "is cancelled" if changed["state"] == "cancelled" else "is being cancelled: its worker ends what runs"
    tell(changed, f"Build {build} {words}.", json=json)


def start(project: str, ref: str, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Build a tag or branch of a project now; what was built before is built again.

    Example: lumper start owner/app v1.2.3

    Parameters
    ----------
    project
        The project's name.
    ref
        A tag, a branch, or the full name of a ref.
    """
    with connect(target) as client:
        build = client.post(f"projects/{project}/builds", {"ref": ref})
    if json:
        show_json(build)
    else:
        number = build["id"]
        print(f"Build {number} of {build['tag']} is {build['state']}; `lumper log {number} --follow` shows it.")


def restart(build: int, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Build the same commit again.

    Example: lumper restart 7

    Parameters
    ----------
    build
        The build's number.
    """
    with connect(target) as client:
        changed = client.post(f"builds/{build}/restart")
    tell(changed, f"Build {build} is {changed['state']}; `lumper log {build} --follow` shows it.", json=json)

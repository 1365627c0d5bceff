"""`lumper registry gc`, `verify`, `rebuild` and `adopt`: looking after what a registry keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from json import loads
from pathlib import Path
from typing import Any

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, show_json, size, table
from lumper.errors import ServerUnreachable, StorageError

_HERE = Target()
_NO_GARBAGE = """Nothing can be given up.
What was deleted can be after [registry] gc_grace, and what a tag has left or retention removed after undo_days."""


def gc(*, dry_run: bool = False, json: Json = False, target: Target = _HERE) -> None:
    """Give up what no tag, build or rollout needs any more, while pushes and pulls go on.

    Example: lumper registry gc --dry-run

    Parameters
    ----------
    dry_run
        Only tell what would go now; what it leaves behind goes later.
    """
    with connect(target) as client:
        report = client.post("registry/gc", dry_run=int(dry_run))
    if json:
        show_json(report)
        return
    rows = [(g["kind"], g["repository"], g["name"], size(g["size"]), g["why"]) for g in report["garbage"]]
    table(("what", "repository", "name", "size", "why"), rows, empty=_NO_GARBAGE)
    if unseen := sum(report["counts"].values()) - len(rows):
        print(f"… and {unseen} more.")
    if rows:
        print(f"\n{size(report['freed'])} {'would be' if dry_run else 'were'} given back.")


def verify(*, repair: bool = False, json: Json = False, target: Target = _HERE) -> None:
    """Read everything again that the registry keeps, and tell what is missing or not what its digest says.

    The status is 1 if anything is wrong.

    Example: lumper registry verify --json

    Parameters
    ----------
    repair
        Tell the storage which manifests and tags there are, where it has that wrong.
    """
    with connect(target) as client:
        flaws, done = _followed(client.lines("registry/verify", method="POST", repair=int(repair)), "flaw", _read)
    if json:
        show_json({"flaws": flaws, **done})
    else:
        rows = [(f["kind"], f["repository"], f["name"], f["why"]) for f in flaws]
        table(("what", "repository", "name", "why"), rows, empty="Nothing is wrong.")
        count = done["repositories"]
        print(f"\n{_read(done)}, {count} {'repository' if count == 1 else 'repositories'} compared.")
        if any(flaw["kind"] in ("missing", "corrupt") for flaw in flaws):
            print("What is missing or corrupt is not served, and there again once the image is pushed again,")
            print("by any client, or copied with `lumper image copy --again`.")
    if flaws:
        sys.exit(1)


def adopt(*, data: Path | None = None, config: Path | None = None) -> None:
    """Let the images of the database lie in the configured storage from now on, although they lay in another one.

    A server refuses to start with a storage that its database does not know: its disk may not be mounted, or it may be
    another server's. What is not in the new one is missing then, until it is pushed again. No server needs to run.

    Example: lumper registry adopt --data /srv/registry

    Parameters
    ----------
    data
        The data folder.
    config
        The TOML file.
    """
    import asyncio

    from lumper.config.settings import load
    from lumper.wiring.storage_identity import adopt

    where = asyncio.run(adopt(load(config, overrides={"data": data})))
    print(f"The images lie in {where}. Start the server, then compare: `lumper registry verify`.")


def rebuild(*, dry_run: bool = False, json: Json = False, target: Target = _HERE) -> None:
    """Bring back from the storage what the database does not know: after it was lost, or is older than the storage.

    Only what is missing is added. Running it again is safe, and so are pushes and pulls meanwhile. The status is 1 if
    something could not be brought back.

    Example: lumper registry rebuild --dry-run

    Parameters
    ----------
    dry_run
        Only tell what would come back.
    """
    with connect(target) as client:
        lines = client.lines("registry/rebuild", method="POST", dry_run=int(dry_run))
        troubles, done = _followed(lines, "trouble", _brought)
    if json:
        show_json({"troubles": troubles, **done})
    else:
        rows = [(t["repository"], t["name"], t["why"]) for t in troubles]
        table(("repository", "name", "why"), rows, empty="Everything that the storage names is whole.")
        print(f"\n{_brought(done)}.")
    if troubles:
        sys.exit(1)


def _followed(
    lines: Iterable[bytes], word: str, tell: Callable[[dict[str, Any]], str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What long work has found, and how far it came; meanwhile a person sees how far it is."""
    found: list[dict[str, Any]] = []
    done: dict[str, Any] = {}
    for line in lines:
        told = loads(line)
        if word in told:
            found.append(told[word])
        elif "error" in told:
            raise StorageError(told["error"], hint=told["hint"])
        elif told.get("progress") and sys.stderr.isatty():
            print(f"{tell(told['progress'])} so far …", file=sys.stderr)
        done = told.get("done", done)
    if not done:
        raise ServerUnreachable("The server ended before everything was read.", hint="Start it and try again.")
    return found, done


def _read(done: dict[str, Any]) -> str:
    return f"{done['blobs']} blobs with {size(done['bytes'])} were read"


def _brought(done: dict[str, Any]) -> str:
    would = "would be" if done["dry_run"] else "were"
    return f"{done['manifests']} manifests and {done['tags']} tags {would} brought back, of {done['names']} names"

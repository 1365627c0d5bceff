"""`lumper images`: what the registry holds."""

from __future__ import annotations

import sys
from shutil import get_terminal_size

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, size, table

_HERE = Target()
_WIDE = 120  # columns that have room for whole digests


def images(repository: str = "", /, *, json: Json = False, target: Target = _HERE) -> None:
    """List the repositories of the registry, or the tags of one.

    Example: lumper images owner/app

    Parameters
    ----------
    repository
        Show the tags of this repository.
    """
    with connect(target) as client:
        found = client.get(f"images/{repository}" if repository else "images")
        while repository and found["next"]:
            more = client.get(f"images/{repository}", after=found["next"])
            found = more | {"tags": found["tags"] + more["tags"]}
    if json:
        show_json(found)
    elif repository:
        shown = 19 if sys.stdout.isatty() and get_terminal_size().columns < _WIDE else None  # `sha256:` and 12 digits
        rows: list[tuple[str, ...]] = [
            (t["name"], t["digest"][:shown], size(t["size"]), ago(t["updated_at"]), str(t["build_id"] or ""))
            for t in found["tags"]
        ]
        table(("tag", "digest", "size", "pushed", "build"), rows, empty="No tags.")
        if rows:
            print(f"\ndocker pull {found['pull']}:TAG")
    else:
        rows = [(i["name"], i["tags"], size(i["size"]), ago(i["updated_at"])) for i in found]
        table(("repository", "tags", "size", "changed"), rows, empty="No images yet.")

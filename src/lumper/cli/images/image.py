"""`lumper image`: where an image comes from; the past of an image's tags; moving and removing them."""

from __future__ import annotations

import sys
from typing import Any

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, who
from lumper.errors import Invalid

app = App(
    name="image", help="One image: where it comes from, copying it, the past of its tags, moving and removing them."
)

app.command(
    "lumper.cli.images.origin:inspect", name="inspect", help="Show where an image comes from, and what is in it."
)
app.command("lumper.cli.images.origin:packages", name="packages", help="List the packages in an image.")
app.command(
    "lumper.cli.images.copying:copy", name="copy", help="Copy an image, with all its platforms, into a registry."
)

_HERE = Target()


@app.command
def history(reference: str, /, *, limit: int = 50, json: Json = False, target: Target = _HERE) -> None:
    """Show what happened to a tag, or in a whole repository, the newest first, and who did it.

    Example: lumper image history owner/app:latest

    Parameters
    ----------
    reference
        REPOSITORY or REPOSITORY:TAG.
    limit
        At most so many lines.
    """
    with connect(target) as client:
        found = client.get(f"history/{reference}", limit=limit)
    if json:
        show_json(found)
        return
    rows = [
        (ago(a["at"]), a["action"], a["tag"], a["digest"][:19], a["before"][:19], _who(a["actor"]), a["detail"])
        for a in found
    ]
    table(("when", "what", "tag", "digest", "before", "who", "why"), rows, empty="Nothing is known of it.")


@app.command
def retag(reference: str, to: str = "", /, *, undo: bool = False, json: Json = False, target: Target = _HERE) -> None:
    """Let a tag point at another manifest of its repository, or, with --undo, where it pointed before.

    Example: lumper image retag owner/app:latest --undo

    Parameters
    ----------
    reference
        REPOSITORY:TAG; the tag need not be there yet.
    to
        A digest, or another tag of the repository.
    undo
        Take back the last move of the tag, or its removal. Once more takes that back.
    """
    if bool(to) is undo:
        hint = "Give a digest or another tag of the repository, or --undo."
        raise Invalid("Say where to, or --undo, not both." if undo else "Say where to.", hint=hint)
    with connect(target) as client:
        moved = client.put(f"images/{reference}", {"undo": True} if undo else {"to": to})
    if json:
        show_json(moved)
    else:
        print(f"{moved['repository']}:{moved['tag']} points at {moved['digest']} now.")
        print(f"Before: {moved['before']}" if moved["before"] else "It is new.")


@app.command
def delete(
    reference: str,
    /,
    *,
    everything: bool = False,
    break_index: bool = False,
    yes: bool = False,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Remove a tag, a manifest with all its tags, or all that a repository holds.

    Example: lumper image delete owner/app:1.0 --yes

    Parameters
    ----------
    reference
        REPOSITORY:TAG or REPOSITORY@DIGEST; with --everything, REPOSITORY.
    everything
        The whole repository, with all its images and tags.
    break_index
        Also what is a part of an index, such as the image for one platform. The index stays, and lacks it.
    yes
        Do not ask first.
    """
    if not yes and not _confirmed(f"all that {reference} holds" if everything else reference):
        raise Invalid(f"{reference} was not deleted.", hint="Answer y, or add --yes.")
    with connect(target) as client:
        gone = client.delete(f"images/{reference}", everything=int(everything), break_index=int(break_index))
    if json:
        show_json(gone)
        return
    print(f"{reference} is {'empty' if everything else 'gone'}.")
    if gone["tag"]:
        print(f"To bring it back: lumper image retag {reference} --undo")


def _confirmed(reference: str) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Delete {reference}{' with all its tags' if '@' in reference else ''}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _who(actor: dict[str, Any]) -> str:
    name = who(actor)
    place = f" from {actor['address']}" if actor["address"] else ""
    return f"{name} ({actor['role']}){place}" if actor["role"] else f"{name}{place}"

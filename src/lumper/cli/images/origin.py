"""`lumper image inspect` and `packages`, `lumper registry key`: where images come from, and how that is verified."""

from __future__ import annotations

from typing import Any

from lumper.cli.builds.verify import differences
from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, plain, show_json, size, table, warn

_HERE = Target()
_KINDS = {
    "signature": "signature",
    "https://slsa.dev/provenance/v1": "provenance (SLSA v1)",
    "https://spdx.dev/Document": "contents (SPDX)",
}


def inspect(reference: str, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Show where an image comes from, and what is in it.

    Its commit, its build and who pushed that; platforms, layers and base images; whether it is signed, and what else
    lies beside it.

    Example: lumper image inspect owner/app:1.2.3

    Parameters
    ----------
    reference
        REPOSITORY:TAG or REPOSITORY@DIGEST; without both the tag latest.
    """
    with connect(target) as client:
        found = client.get(f"inspect/{reference}")
    if json:
        show_json(found)
        return
    table(("", ""), [row for row in _facts(found) if row[1]], empty="")
    for platform in found["platforms"]:
        print(f"\n{platform['platform']}  {platform['digest']}  {size(platform['size'])}")
        rows = [(layer["digest"], size(layer["size"])) for layer in platform["layers"]]
        table(("layer", "size"), rows, empty="No layers.")
    if found["verification"]:
        for line in differences(found["verification"]):
            print(line)
    print()
    rows = [(_KINDS.get(b["kind"], b["kind"]), "by this Lumper" if b["ours"] else "by others") for b in found["beside"]]
    table(("beside it", "made"), rows, empty="Nothing is told of it beside it: not signed, no provenance.")


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("image", found["repository"]),
        ("digest", found["digest"]),
        ("tags", ", ".join(found["tags"])),
        ("size", size(found["size"])),
        ("pushed", ago(found["pushed_at"])),
    ]
    build = found["build"]
    if build is None:
        who = found["pusher"]
        by = f" by {who['name'] or 'anyone'} ({who['role'] or 'no account'})" if who else ", or its build is forgotten"
        return [*facts, ("build", f"none: it was pushed by hand{by}")]
    return [
        *facts,
        ("source", found["source"]),
        ("commit", build["commit"]),
        ("author", _person(build["author"])),
        ("build", f"{build['id']} of {build['project']} {build['tag']}"),
        ("pushed by", _person(build["pusher"])),
        ("built by", build["worker"]),
        *(("built from", f"{base['name']} {base['digest']}") for base in build["bases"]),
        ("built again", _verified(found["verification"])),
    ]


def _verified(told: dict[str, Any] | None) -> str:
    if told is None:
        return ""
    return f"{told['state']} (build {told['by']}, {ago(told['started_at'])}) {told['summary']}".strip()


def _person(person: dict[str, Any]) -> str:
    email = f" <{person['email']}>" if person["email"] else ""
    return f"{person['name']}{email}".strip()


def packages(reference: str, /, *, find: str = "", json: bool = False, target: Target = _HERE) -> None:
    """List the packages in an image, as this Lumper has read and signed them.

    Example: lumper image packages owner/app:1.2.3 --find openssl

    Parameters
    ----------
    reference
        REPOSITORY:TAG or REPOSITORY@DIGEST; without both the tag latest.
    find
        Only those that have this text in their name, version, kind or path.
    json
        Print JSON: the packages, and the SPDX document.
    """
    with connect(target) as client:
        found = client.get(f"packages/{reference}", find=find)
    if json:
        show_json(found)
        return
    rows = [
        (one["name"], one["version"], one["kind"], one["architecture"], f"/{one['source']}")
        for one in found["packages"]
    ]
    table(("package", "version", "kind", "for", "told by"), rows, empty="There are none.")
    if found["comment"]:
        warn(plain(found["comment"]))


def key(*, json: Json = False, target: Target = _HERE) -> None:
    """Print the public key with which images, and what is told of them, are signed here.

    Example: lumper registry key > lumper.pub
    """
    with connect(target) as client:
        found = client.get("registry/key")
    if json:
        show_json(found)
    else:
        print(found["public_key"], end="")

"""`lumper ps` and `rollouts`: what runs where, and how it came there."""

from __future__ import annotations

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, ports, show_json, table

_HERE = Target()


def ps(*, json: Json = False, target: Target = _HERE) -> None:
    """List what runs where, as last seen on the hosts.

    Example: lumper ps --json
    """
    with connect(target) as client:
        found = client.get("containers")
    if json:
        show_json(found)
        return
    rows = [
        (
            c["host"],
            c["service"],
            c["version"],
            c["state"],
            c["digest"][:19],
            ports(c),
            ago(c["started_at"]),
            c["id"][:12],
        )
        for c in found
    ]
    columns = ("host", "service", "version", "state", "digest", "ports", "since", "container")
    table(columns, rows, empty="Nothing runs: add [deploy] to a repository's lumper.toml and push a tag.")


def rollouts(*, service: str = "", limit: int = 30, json: Json = False, target: Target = _HERE) -> None:
    """List the newest rollouts.

    Example: lumper rollouts --service app

    Parameters
    ----------
    service
        Only those of one service.
    limit
        How many at most.
    """
    with connect(target) as client:
        found = client.get("rollouts", service=service, limit=limit)
    if json:
        show_json(found)
        return
    rows = [
        (
            r["id"],
            r["state"],
            r["service"],
            r["version"],
            r["generation"],
            r["digest"][:19],
            ago(r["created_at"]),
            r["error"],
        )
        for r in found
    ]
    columns = ("id", "state", "service", "version", "generation", "digest", "when", "error")
    table(columns, rows, empty="No rollouts yet.")

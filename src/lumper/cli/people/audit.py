"""`lumper audit`: who did what."""

from __future__ import annotations

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, who

_HERE = Target()


def audit(
    *,
    actor: str = "",
    repository: str = "",
    action: str = "",
    since: str = "",
    after: int = 0,
    limit: int = 50,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """List who pushed, moved and removed what, who let whom in, and who was refused; the newest first.

    Example: lumper audit --actor ann --since 2026-05-01

    Parameters
    ----------
    actor
        Only what this user, robot or token did.
    repository
        Only what was done in this repository.
    action
        push, tag, untag, delete, rule, user, robot, token, grant, sign-in or refused.
    since
        Only from this time on, such as 2026-05-01 or 2026-05-01T12:00:00Z.
    after
        Only what comes behind this number, to read on.
    limit
        How many at most.
    """
    query = {"actor": actor, "repository": repository, "action": action, "since": since, "after": after}
    with connect(target) as client:
        found = client.get("audit", limit=limit, **query)
    if json:
        show_json(found)
        return
    rows = [
        (
            one["id"],
            ago(one["at"]),
            who(one["actor"]),
            one["actor"]["address"],
            one["action"],
            one["repository"] + (f":{one['tag']}" if one["tag"] else ""),
            one["detail"] or one["digest"][:19],
        )
        for one in found
    ]
    table(("id", "when", "who", "from", "what", "where", "detail"), rows, empty="Nothing of that kind was done.")

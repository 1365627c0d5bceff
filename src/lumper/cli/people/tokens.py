"""`lumper token`: API tokens for people and for roles on other machines."""

from __future__ import annotations

from typing import Any, Literal

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, tell, until
from lumper.cli.people.grants import actions

app = App(name="token", help="API tokens, which are also passwords for `docker login`.")

_HERE = Target()
_Role = Literal["admin", "operator", "worker", "mailer", "deployer", "monitor"]  # others have no tokens of their own


@app.command
def create(
    name: str,
    /,
    *,
    role: _Role | None = None,
    repository: tuple[str, ...] = (),
    allow: str = "",
    days: int | None = None,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Make an API token. It is shown this once.

    With a user's password or session the token is theirs; on the server's own machine it has a role. With
    --repository or --allow it reaches those repositories only, and nothing else of Lumper.

    Example: lumper token create laptop --repository 'team/*' --allow pull,push --days 90

    Parameters
    ----------
    name
        What it is for.
    role
        worker, mailer, deployer, monitor, operator, or admin, which it is without.
    repository
        A pattern for repositories; may be given more than once.
    allow
        What it may do there, by commas: pull, push, delete, admin. Everything that its owner may, without.
    days
        How long it is good; for ever without.
    """
    body = {"name": name, "role": role, "repositories": repository, "allow": actions(allow) if allow else []}
    with connect(target) as client:
        made = client.post("tokens", {**body, "days": days})
    tell(made, made["token"], json=json)


@app.command(name="list")
def list_(*, json: Json = False, target: Target = _HERE) -> None:
    """List all API tokens by their names.

    Example: lumper token list
    """
    with connect(target) as client:
        tokens = client.get("tokens")
    if json:
        show_json(tokens)
        return
    rows = [
        (t["name"], t["owner"] or t["role"], _reach(t["limits"]), until(t["expires_at"]), ago(t["last_used_at"]))
        for t in tokens
    ]
    table(("name", "whose", "reaches", "expires", "used"), rows, empty="No tokens.")


def _reach(limits: list[dict[str, Any]] | None) -> str:
    if limits is None:
        return "everything of theirs"
    return "; ".join(f"{', '.join(each['actions'])} in {each['repository']}" for each in limits)


@app.command
def remove(name: str, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Revoke an API token: from now on it lets nobody in.

    Example: lumper token remove builder-2

    Parameters
    ----------
    name
        The token's name.
    """
    with connect(target) as client:
        removed = client.delete(f"tokens/{name}")
    tell(removed, f"The token {removed['name']} lets nobody in any more.", json=json)

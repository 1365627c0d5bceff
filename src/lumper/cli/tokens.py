"""`lumper token`: API tokens for people and for roles on other machines."""

from __future__ import annotations

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import ago, show_json, table
from lumper.model.people import Role

app = App(name="token", help="API tokens, which are also passwords for `docker login`.")

_HERE = Target()


@app.command
def create(name: str, /, *, role: Role = Role.ADMIN, json: bool = False, target: Target = _HERE) -> None:
    """Make an API token. It is shown this once.

    Example: lumper token create builder-2 --role worker

    Parameters
    ----------
    name
        What it is for.
    role
        operator, worker, mailer or deployer; an admin can make admin too.
    json
        Print JSON.
    """
    with connect(target) as client:
        made = client.post("tokens", {"name": name, "role": role.value})
    if json:
        show_json(made)
    else:
        print(made["token"])


@app.command(name="list")
def list_(*, json: bool = False, target: Target = _HERE) -> None:
    """List all API tokens by their names.

    Example: lumper token list

    Parameters
    ----------
    json
        Print JSON.
    """
    with connect(target) as client:
        tokens = client.get("tokens")
    if json:
        show_json(tokens)
        return
    rows = [(token["name"], token["role"], ago(token["created_at"]), token["expires_at"]) for token in tokens]
    table(("name", "role", "made", "expires"), rows, empty="No tokens.")


@app.command
def remove(name: str, /, *, json: bool = False, target: Target = _HERE) -> None:
    """Revoke an API token: from now on it lets nobody in.

    Example: lumper token remove builder-2

    Parameters
    ----------
    name
        The token's name.
    json
        Print JSON.
    """
    with connect(target) as client:
        removed = client.delete(f"tokens/{name}")
    if json:
        show_json(removed)
    else:
        print(f"The token {removed['name']} lets nobody in any more.")

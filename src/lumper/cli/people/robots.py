"""`lumper robot`: programs with a token of their own, for `docker login` and the API."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, tell, until

app = App(name="robot", help="Programs with a token, which is nobody's, for `docker login` and the API.")

_HERE = Target()
_Which = Annotated[str, Parameter(help="Which one.")]


@app.command
def add(name: str, /, *, days: int | None = None, json: Json = False, target: Target = _HERE) -> None:
    """Make a robot and print its token, this once. It may do what `lumper grant add` allows.

    Example: lumper robot add ci --days 365

    Parameters
    ----------
    name
        Its name, for `docker login -u`.
    days
        How long the token is good; for ever without.
    """
    with connect(target) as client:
        made = client.post("robots", {"name": name, "days": days})
    tell(made, made["token"], json=json)


@app.command(name="list")
def list_(*, json: Json = False, target: Target = _HERE) -> None:
    """List all robots.

    Example: lumper robot list
    """
    with connect(target) as client:
        robots = client.get("robots")
    if json:
        show_json(robots)
        return
    rows = [
        (
            r["name"],
            "kept out" if r["disabled"] else "",
            ago(r["created_at"]),
            until(r["expires_at"]),
            ago(r["last_used_at"]),
        )
        for r in robots
    ]
    table(("name", "state", "made", "expires", "used"), rows, empty="No robots yet: lumper robot add NAME.")


@app.command
def rotate(name: str, /, *, days: int | None = None, json: Json = False, target: Target = _HERE) -> None:
    """Give a robot another token and print it, this once. The one before it works no more.

    Example: lumper robot rotate ci --days 365

    Parameters
    ----------
    name
        Whose.
    days
        How long the token is good; without, for as long as the one before it was when it was made.
    """
    with connect(target) as client:
        made = client.post(f"robots/{name}/token", {"days": days})
    tell(made, made["token"], json=json)


@app.command
def disable(name: _Which, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Keep a robot out, without forgetting its grants.

    Example: lumper robot disable ci
    """
    with connect(target) as client:
        tell(client.patch(f"robots/{name}", {"disabled": True}), f"{name} is kept out.", json=json)


@app.command
def enable(name: _Which, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Let a robot in again.

    Example: lumper robot enable ci
    """
    with connect(target) as client:
        tell(client.patch(f"robots/{name}", {"disabled": False}), f"{name} may come in again.", json=json)


@app.command
def remove(name: _Which, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Remove a robot with its token and its grants.

    Example: lumper robot remove ci
    """
    with connect(target) as client:
        tell(client.delete(f"robots/{name}"), f"There is no robot {name} any more.", json=json)

"""`lumper token`: API tokens for people and for roles on other machines."""

from __future__ import annotations

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import show_json
from lumper.model.people import Role

app = App(name="token", help="API tokens, which are also passwords for `docker login`.")

_HERE = Target()


@app.command
def create(name: str, *, role: Role = Role.OPERATOR, json: bool = False, target: Target = _HERE) -> None:
    """Make an API token. It is shown this once.

    Example: lumper token create builder-2 --role worker

    Parameters
    ----------
    name
        What it is for.
    role
        admin, operator, worker, mailer or deployer.
    json
        Print JSON.
    """
    with connect(target) as client:
        made = client.post("tokens", {"name": name, "role": role.value})
    if json:
        show_json(made)
    else:
        print(made["token"])

"""`lumper grant`: who may do what in which repositories."""

from __future__ import annotations

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, tell
from lumper.errors import Invalid
from lumper.model.people.rights import Action

app = App(name="grant", help="What users, robots and builds may do in which repositories. Grants only add up.")

_HERE = Target()


@app.command
def add(account: str, repository: str, /, *, allow: str = "pull", json: Json = False, target: Target = _HERE) -> None:
    """Allow an account something in all repositories that fit a pattern.

    In a pattern `*` stands for any characters of one part of a name; a last part `**` for everything below.

    Example: lumper grant add ci 'team/*' --allow pull,push

    Parameters
    ----------
    account
        A user, a robot, or project:NAME for what the builds of a project may pull.
    repository
        The pattern, such as team/app, team/*, team/** or **.
    allow
        What, by commas: pull, push, delete, admin. Who may push or delete may pull, an admin of it everything.
    """
    with connect(target) as client:
        made = client.post("grants", {"account": account, "repository": repository, "allow": actions(allow)})
    tell(made, f"{account} may {', '.join(made['actions'])} in {repository}.", json=json)


@app.command(name="list")
def list_(account: str = "", /, *, json: Json = False, target: Target = _HERE) -> None:
    """List all grants, or those of one account.

    Example: lumper grant list ci

    Parameters
    ----------
    account
        Only this one's.
    """
    with connect(target) as client:
        found = client.get("grants", account=account)
    if json:
        show_json(found)
        return
    rows = [(g["account"], g["repository"], ", ".join(g["actions"]), ago(g["created_at"])) for g in found]
    table(("account", "repository", "may", "since"), rows, empty="No grants yet: lumper grant add NAME 'team/*'.")


@app.command
def remove(account: str, repository: str, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Take a grant back. From now on it counts no more.

    Example: lumper grant remove ci 'team/*'

    Parameters
    ----------
    account
        Whose.
    repository
        Its pattern, as `lumper grant list` shows it.
    """
    with connect(target) as client:
        removed = client.delete("grants", account=account, repository=repository)
    tell(removed, f"{account} has no grant for {repository} any more.", json=json)


def actions(text: str) -> list[str]:
    """What is written with commas between. Raises Invalid."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found or not set(found) <= set(Action):
        raise Invalid(f"{text!r} is not understood.", hint=f"Name some of {', '.join(Action)}, by commas.")
    return found

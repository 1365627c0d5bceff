"""`lumper user`: people with a password, for the web UI and `docker login`."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.line_file import line_of
from lumper.cli.output import Json, ago, show_json, table, tell
from lumper.errors import Invalid

app = App(name="user", help="People with a password, for the web UI and `docker login`.")

_HERE = Target()
_Whom = Annotated[str, Parameter(help="Whom.")]


@app.command
def add(
    name: str,
    /,
    *,
    role: Literal["admin", "user"] = "user",
    password_file: Path | None = None,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Let somebody in. The password is asked for, or read from a file or from a pipe.

    Example: lumper user add ann --role admin

    Parameters
    ----------
    name
        The name to sign in with.
    role
        A user sees and does in repositories what `lumper grant add` allows; an admin everything.
    password_file
        A file with the password.
    """
    body = {"name": name, "password": _password(password_file), "role": role}
    with connect(target) as client:
        made = client.post("users", body)
    tell(made, f"{name} may sign in now, as {role}.", json=json)


@app.command(name="list")
def list_(*, json: Json = False, target: Target = _HERE) -> None:
    """List everybody who may sign in.

    Example: lumper user list --json
    """
    with connect(target) as client:
        users = client.get("users")
    if json:
        show_json(users)
        return
    rows = [(u["name"], u["role"], "kept out" if u["disabled"] else "", ago(u["created_at"])) for u in users]
    empty = "Nobody yet: open the link that `lumper up` prints, or `lumper user add NAME`."
    table(("name", "role", "state", "since"), rows, empty=empty)


@app.command
def password(name: str, /, *, password_file: Path | None = None, json: Json = False, target: Target = _HERE) -> None:
    """Give somebody another password. Their sessions end.

    Example: lumper user password ann

    Parameters
    ----------
    name
        Whose.
    password_file
        A file with the password.
    """
    body = {"password": _password(password_file)}
    with connect(target) as client:
        changed = client.put(f"users/{name}/password", body)
    tell(changed, f"{name} has another password now.", json=json)


@app.command(name="role")
def change_role(name: _Whom, role: Literal["admin", "user"], /, *, json: Json = False, target: Target = _HERE) -> None:
    """Make somebody an administrator, or a user again.

    Example: lumper user role ann admin

    Parameters
    ----------
    role
        admin or user.
    """
    _change(name, {"role": role}, f"{name} is {role} now.", json, target)


@app.command
def disable(name: _Whom, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Keep somebody out, without forgetting anything. Sessions and tokens work no more.

    Example: lumper user disable ann
    """
    _change(name, {"disabled": True}, f"{name} is kept out.", json, target)


@app.command
def enable(name: _Whom, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Let somebody in again.

    Example: lumper user enable ann
    """
    _change(name, {"disabled": False}, f"{name} may sign in again.", json, target)


def _change(name: str, values: dict[str, object], words: str, json: bool, target: Target) -> None:
    with connect(target) as client:
        changed = client.patch(f"users/{name}", values)
    tell(changed, words, json=json)


@app.command
def remove(name: _Whom, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Let somebody in no more. Their sessions end, their tokens and grants go.

    Example: lumper user remove ann
    """
    with connect(target) as client:
        removed = client.delete(f"users/{name}")
    tell(removed, f"{name} may no longer sign in.", json=json)


def _password(file: Path | None) -> str:
    """Never from the command line, where everybody on the machine could read it."""
    if file is not None:
        return line_of(file, "password")
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise Invalid("The second password was another one.", hint="Nothing was changed: try again.")
        return password
    return sys.stdin.readline().rstrip("\r\n")

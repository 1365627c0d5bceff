"""`lumper user`: people with a password, for the web UI and `docker login`."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import ago, show_json, table
from lumper.errors import NotFound

app = App(name="user", help="People with a password, for the web UI and `docker login`.")

_HERE = Target()


@app.command
def add(
    name: str,
    *,
    password_file: Path | None = None,
    json: bool = False,
    target: Target = _HERE,
) -> None:
    """Let somebody in. The password is asked for, or read from a file or from a pipe.

    Example: lumper user add ann

    Parameters
    ----------
    name
        The name to sign in with.
    password_file
        A file with the password.
    json
        Print JSON.
    """
    body = {"name": name, "password": _password(password_file)}
    with connect(target) as client:
        made = client.post("users", body)
    if json:
        show_json(made)
    else:
        print(f"{name} may sign in now.")


@app.command(name="list")
def list_(*, json: bool = False, target: Target = _HERE) -> None:
    """List everybody who may sign in.

    Example: lumper user list --json

    Parameters
    ----------
    json
        Print JSON.
    """
    with connect(target) as client:
        users = client.get("users")
    if json:
        show_json(users)
        return
    rows = [(user["name"], user["role"], ago(user["created_at"])) for user in users]
    empty = "Nobody yet: open the link that `lumper up` prints, or `lumper user add NAME`."
    table(("name", "role", "since"), rows, empty=empty)


@app.command
def password(name: str, *, password_file: Path | None = None, json: bool = False, target: Target = _HERE) -> None:
    """Give somebody another password. Their sessions end.

    Example: lumper user password ann

    Parameters
    ----------
    name
        Whose.
    password_file
        A file with the password.
    json
        Print JSON.
    """
    body = {"password": _password(password_file)}
    with connect(target) as client:
        changed = client.put(f"users/{name}/password", body)
    if json:
        show_json(changed)
    else:
        print(f"{name} has another password now.")


@app.command
def remove(name: str, *, json: bool = False, target: Target = _HERE) -> None:
    """Let somebody in no more. Their sessions end.

    Example: lumper user remove ann

    Parameters
    ----------
    name
        Whom.
    json
        Print JSON.
    """
    with connect(target) as client:
        removed = client.delete(f"users/{name}")
    if json:
        show_json(removed)
    else:
        print(f"{name} may no longer sign in.")


def _password(file: Path | None) -> str:
    """Never from the command line, where everybody on the machine could read it."""
    if file is not None:
        try:
            return file.read_text("utf-8").strip()
        except OSError as exc:
            hint = "Name a file with the password, or leave it out and type the password."
            raise NotFound(f"{file} cannot be read: {exc.strerror}.", hint=hint) from exc
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\n")

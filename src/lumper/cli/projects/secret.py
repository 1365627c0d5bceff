"""`lumper secret`: what builds are given, and nobody is shown."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, tell
from lumper.errors import Invalid
from lumper.model.builds.secrets import as_kept

app = App(name="secret", help="What builds are given: values, ssh keys, credentials for registries. Nobody reads them.")

_HERE = Target()
_KINDS = {"value": "secret", "ssh": "ssh key", "login": "login"}
_NoNegative = Parameter(negative=())


@app.command(name="set")
def set_(
    project: str,
    name: str,
    /,
    *,
    file: Path | None = None,
    branches: str = "",
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Keep a secret for the builds of a project, in place of one of this name.

    Builds of tags may have it, and those of the branches that are named. A recipe asks for it by
    `secrets = ["NAME"]`, a Dockerfile reads it by RUN --mount=type=secret,id=NAME.

    Example: lumper secret set owner/app npm < token.txt

    Parameters
    ----------
    project
        The project's name.
    name
        The secret's name: letters, digits, and _ . -.
    file
        The file with its value; without one it is read from standard input. A single line loses its line end.
    branches
        Patterns of the branches whose builds may have it too, by commas.
    """
    _set(project, "value", name, _read(file), branches=branches, json=json, target=target)


@app.command
def ssh_key(
    project: str,
    name: str = "default",
    /,
    *,
    file: Path | None = None,
    branches: str = "",
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Keep a private key, without a passphrase, for the ssh agent of a project's builds.

    A recipe asks for it by `ssh = true`, a Dockerfile uses it by RUN --mount=type=ssh. A deploy key that may only read
    is enough for most.

    Example: lumper secret ssh-key owner/app --file id_ed25519

    Parameters
    ----------
    project
        The project's name.
    name
        The id of the agent in RUN --mount=type=ssh,id=….
    file
        The file with the key; without one it is read from standard input.
    branches
        Patterns of the branches whose builds may have it too, by commas.
    """
    _set(project, "ssh", name, _read(file), branches=branches, json=json, target=target)


@app.command
def login(
    host: str,
    /,
    *,
    username: str,
    project: str = "",
    password_file: Path | None = None,
    branches: str = "**",
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Keep credentials for a registry: for base images, caches, and where lumper.toml wants images pushed to.

    The registry of Lumper itself needs none.

    Example: lumper secret login registry.example.com --username robot --project owner/app < password.txt

    Parameters
    ----------
    host
        The registry as it stands in the names of images: HOST[:PORT], docker.io for Docker Hub.
    username
        The name to sign in with.
    project
        Whose builds get them; those of all projects if none is named.
    password_file
        The file with the password or token; without one it is read from standard input.
    branches
        Patterns of the branches whose builds get them besides those of tags, by commas; "" for none.
    """
    secret = _read(password_file)
    _set(project, "login", host, secret, username=username, branches=branches, json=json, target=target)


@app.command(name="list")
def list_(project: str = "", /, *, json: Json = False, target: Target = _HERE) -> None:
    """List what builds are given, without the values.

    Example: lumper secret list owner/app

    Parameters
    ----------
    project
        Only what builds of this one are given.
    """
    with connect(target) as client:
        found = client.get("secrets", project=project)
    if json:
        show_json(found)
        return
    rows = [
        (
            s["project"] or "(all)",
            _KINDS[s["kind"]],
            s["name"],
            s["username"],
            ", ".join(["tags", *s["branches"]]),
            f"{ago(s['changed_at'])} by {s['changed_by'] or 'the server'}",
        )
        for s in found
    ]
    columns = ("project", "kind", "name", "user", "for", "set")
    table(columns, rows, empty="No secrets yet: lumper secret set PROJECT NAME < FILE.")


@app.command
def remove(
    project: str,
    name: str,
    /,
    *,
    kind: Annotated[Literal["value", "ssh"], _NoNegative] = "value",
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Forget a secret, or an ssh key. Builds that begin from now on fail if they ask for it.

    Example: lumper secret remove owner/app npm

    Parameters
    ----------
    project
        The project's name.
    name
        The secret's name.
    kind
        value, or ssh for a key.
    """
    with connect(target) as client:
        removed = client.delete("secrets", project=project, kind=kind, name=name)
    tell(removed, f"Builds of {project} are not given {name} any more.", json=json)


@app.command
def logout(host: str, /, *, project: str = "", json: Json = False, target: Target = _HERE) -> None:
    """Forget credentials for a registry.

    Example: lumper secret logout registry.example.com --project owner/app

    Parameters
    ----------
    host
        The registry, as `lumper secret list` shows it.
    project
        Whose; those of all projects if none is named.
    """
    with connect(target) as client:
        removed = client.delete("secrets", project=project, kind="login", name=host)
    tell(removed, f"Builds sign in at {host} no more{_whose(project)}.", json=json)


def _set(
    project: str,
    kind: str,
    name: str,
    value: bytes,
    *,
    username: str = "",
    branches: str,
    json: bool,
    target: Target,
) -> None:
    body = {
        "project": project,
        "kind": kind,
        "name": name,
        "value": base64.b64encode(value).decode(),
        "username": username,
        "branches": [part.strip() for part in branches.split(",") if part.strip()],
    }
    with connect(target) as client:
        made = client.put("secrets", body)
    tell(made, f"The {_KINDS[kind]} {made['name']} is kept{_whose(project)}; nobody is shown it again.", json=json)


def _whose(project: str) -> str:
    return f" for builds of {project}" if project else " for builds of all projects"


def _read(file: Path | None) -> bytes:
    """The value, whose line end a single line loses. Raises Invalid."""
    try:
        content = file.read_bytes() if file else sys.stdin.buffer.read()
    except OSError as exc:
        raise Invalid(f"The secret cannot be read from {file}: {exc.strerror}.") from exc
    return as_kept(content)

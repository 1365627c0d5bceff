"""`lumper project`: what is built."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.line_file import line_of
from lumper.cli.output import Json, ago, show_json, table, tell, warn
from lumper.cli.projects.project_forge import (
    ProjectName,
    check,
    connect_,
    disconnect,
    make_webhook,
    tell_connected,
)
from lumper.cli.projects.project_url import url_
from lumper.forges.all import NAMES
from lumper.forges.guide import post_receive

app = App(name="project", help="The git repositories that are built.")

_HERE = Target()
_RENEWED = "the forge has a new webhook with it"


@app.command
def add(
    url: str,
    /,
    *,
    name: str = "",
    repository: str = "",
    image: str = "",
    forge: Annotated[str, Parameter(help=f"Whose webhook to explain, where the URL does not tell: {NAMES}.")] = "",
    forge_url: str = "",
    token_file: Annotated[Path | None, Parameter(name="--forge-token-file")] = None,
    allow_local: bool = False,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Add a project, and make its webhook at the forge, or show what to enter there.

    Example: lumper project add https://git.example.org/owner/app.git --forge-token-file token.txt

    Parameters
    ----------
    url
        The git URL: http(s), ssh, git@host:owner/name, or an absolute path.
    name
        The project's name; without it, the repository's path.
    repository
        The repository's name at the forge (owner/name), where the URL does not tell.
    image
        The repository in the registry; without it, the name in lower case.
    forge_url
        The forge's URL, where it is not the git URL's host by https.
    token_file
        The file with a token of the forge: the webhook is made by its API, and it hears of every build.
    allow_local
        Allow a path on this machine that is not in [git] allow_local.
    """
    if "://" not in url and "@" not in url.split("/", 1)[0] and Path(url).is_dir():
        url = str(Path(url).resolve())
    body = {"url": url, "name": name, "repository": repository, "image": image, "allow_local": allow_local}
    with connect(target) as client:
        project = client.post("projects", body)
        made = make_webhook(client, project["name"], forge, forge_url, token_file) if token_file else None
    if json:
        show_json({**project, "webhook": made} if made else project)
    elif made:
        _show_facts(project, secret=False)
        tell_connected(made)
    else:
        _show(project, forge, target, secret=True)


@app.command(name="list")
def list_(*, json: Json = False, target: Target = _HERE) -> None:
    """List all projects.

    Example: lumper project list --json
    """
    with connect(target) as client:
        projects = client.get("projects")
    if json:
        show_json(projects)
        return
    rows = [(p["name"], p["url"], p["image"], ago(p["created_at"])) for p in projects]
    table(("name", "url", "image", "added"), rows, empty="No projects yet: `lumper project add URL` adds one.")


@app.command
def show(
    name: ProjectName,
    /,
    *,
    forge: str = "",
    secret: bool = False,
    json: bool = False,
    target: Target = _HERE,
) -> None:
    """Show a project and what to enter at the forge.

    Example: lumper project show owner/app --secret

    Parameters
    ----------
    forge
        Whose webhook to explain, where the URL does not tell.
    secret
        Show the webhook secret too.
    json
        Print JSON, with the secret.
    """
    with connect(target) as client:
        project = client.get(f"projects/{name}")
    if json:
        show_json(project)
    else:
        _show(project, forge, target, secret=secret)


@app.command
def remove(name: ProjectName, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Forget a project with its builds and deliveries. Its images and what runs stay.

    Example: lumper project remove owner/app
    """
    with connect(target) as client:
        project = client.delete(f"projects/{name}")
    tell(project, f"Removed {project['name']}. Its images in the registry stay.", json=json)


app.command(connect_, name="connect")
app.command(check)
app.command(disconnect)


@app.command
def rules(
    name: ProjectName,
    /,
    *,
    tags: str | None = None,
    branches: str | None = None,
    schedule: str | None = None,
    schedule_ref: str | None = None,
    reconcile: bool | None = None,
    base_images: bool | None = None,
    concurrency: int | None = None,
    weight: int | None = None,
    priority: int | None = None,
    labels: str | None = None,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Show or change what starts a project's builds, and when they begin. What is not given stays as it is.

    Example: lumper project rules owner/app --tags 'v*' --branches main --schedule '0 3 * * 1'

    Parameters
    ----------
    tags
        Patterns of the tags that are built, by commas: globs, ranges such as ">=1.2 <2", and !exceptions.
    branches
        Patterns of the branches that are built, by commas; "" for none.
    schedule
        A line of cron at which to build again, in UTC, or by a zone as TZ=Europe/Berlin 0 3 * * *; "" for never.
    schedule_ref
        What the schedule builds, such as refs/heads/main; "" for the newest tag that was built.
    reconcile
        Look every ten minutes for tags that the forge did not tell of.
    base_images
        Build the newest tag again when one of its base images has changed.
    concurrency
        How many of its builds run at a time; 0 for any number.
    weight
        How much of the workers' time is the project's when others wait too, in proportion to their weights.
    priority
        Builds of a project with a higher one go first, from -100 to 100.
    labels
        Labels that a worker must have to build it, by commas; "" for none.
    """
    given: dict[str, object] = {
        "tags": _listed(tags),
        "branches": _listed(branches),
        "schedule": schedule,
        "schedule_ref": schedule_ref,
        "reconcile": reconcile,
        "base_images": base_images,
        "concurrency": concurrency,
        "weight": weight,
        "priority": priority,
        "labels": _listed(labels),
    }
    changes = {key: value for key, value in given.items() if value is not None}
    with connect(target) as client:
        path = f"projects/{name}"
        project = client.put(f"{path}/rules", changes) if changes else client.get(path)
    if json:
        show_json(project["rules"])
        return
    for key, value in project["rules"].items():
        print(f"{key:<14}{', '.join(value) if isinstance(value, list) else value}")


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


@app.command(name="secret")
def set_secret(
    name: ProjectName, /, *, secret_file: Path | None = None, json: bool = False, target: Target = _HERE
) -> None:
    """Give a project another webhook secret: the one in a file, or a new random one.

    Where Lumper has made the webhook, a random secret is given to the forge as well.

    Example: lumper project secret owner/app --secret-file signing-token.txt

    Parameters
    ----------
    secret_file
        The file with the secret, such as the signing token that GitLab made.
    json
        Print JSON, with the secret.
    """
    secret = line_of(secret_file, "secret") if secret_file else None
    with connect(target) as client:
        project = client.put(f"projects/{name}/secret", {"secret": secret})
    todo = f"enter it at the forge, `lumper project show {name} --secret`"
    tell(project, f"{project['name']} has another secret: {_RENEWED if project['renewed'] else todo}.", json=json)


app.command(url_, name="url")


def _show(project: dict[str, Any], forge: str, target: Target, *, secret: bool) -> None:
    _show_facts(project, secret=secret)
    if not forge and project["url"].startswith("/"):
        _show_hook(project, target)
    else:
        _show_steps(project, forge or project["forge"])


def _show_facts(project: dict[str, Any], *, secret: bool) -> None:
    print(f"Project     {project['name']}")
    print(f"URL         {project['url']}")
    print(f"Repository  {project['repository']}   (as the forge names it)")
    print(f"Image       {project['image']}")
    print(f"Secret      {project['secret'] if secret else '(shown by --secret)'}")
    print()


def _show_hook(project: dict[str, Any], target: Target) -> None:
    """The hook that works as it is for whoever typed the command; it runs with the environment of who pushes."""
    command = [] if not target.data else ["env", f"LUMPER_DATA={target.data.absolute()}"]
    program = Path(sys.executable).with_name("lumper")
    command.append("lumper" if shutil.which("lumper", path=os.defpath) or not program.exists() else str(program))
    if not Path(project["url"]).exists():
        warn(f"There is nothing at {project['url']} yet.")
    print("No forge tells of a path: Lumper looks for new tags itself, every ten minutes. To build at once, let git")
    print(f"tell of them, by the executable file hooks/post-receive in {project['url']}:")
    print()
    print(textwrap.indent(post_receive(project["name"], command), "  "), end="")


def _show_steps(project: dict[str, Any], forge: str) -> None:
    if forge not in project["hooks"]:
        if forge:
            print(f"There is no forge {forge}.")
        print("At the forge, add a webhook with this secret, content type application/json, for pushes and tags.")
        print("`lumper project show NAME --forge FORGE` tells each step. The address is, by forge:")
        for name, hook in project["hooks"].items():
            print(f"  {name:<18}{hook}")
        return
    print(f"So that {forge} tells of tags:")
    for number, step in enumerate(project["steps"][forge], 1):
        print(f"  {number}. {step}")

"""A project and its forge: `lumper project connect`, `check` and `disconnect`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lumper.cli.client import Client, Target, connect
from lumper.cli.line_file import line_of
from lumper.cli.output import Json, ago, plain, show_json, tell, warn

ProjectName = Annotated[str, Parameter(help="The project's name.")]

_HERE = Target()
_PING_SECONDS = 15.0


def connect_(
    name: ProjectName,
    /,
    *,
    token_file: Annotated[Path, Parameter(name="--forge-token-file")],
    forge: str = "",
    forge_url: str = "",
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Make a project's webhook at the forge by its API, and let the forge hear of every build.

    Example: lumper project connect owner/app --forge-token-file token.txt

    Parameters
    ----------
    token_file
        The file with a token of the forge that may change webhooks and set statuses of commits.
    forge
        Which forge it is, where the URL does not tell.
    forge_url
        The forge's URL, where it is not the git URL's host by https.
    """
    with connect(target) as client:
        made = make_webhook(client, name, forge, forge_url, token_file)
    if json:
        show_json(made)
    else:
        tell_connected(made)


def check(name: ProjectName, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Ask the forge whether a project's webhook is there; the status is 1 if it is not, or cannot be told.

    Example: lumper project check owner/app
    """
    with connect(target) as client:
        found = client.get(f"projects/{name}/forge")
    if json:
        show_json(found)
    else:
        last = found["delivery"]
        came = f"{ago(last['received_at'])}: {last['verdict']}" if last else "none with the right signature"
        print(f"Forge          {plain(found['forge'] or 'not connected')} {plain(found['forge_url'])}".rstrip())
        print(f"Webhook        {found['webhook']}: {plain(found['words'])}")
        print(f"Last delivery  {came}")
    if found["webhook"] != "there":
        connected = f"`lumper project secret {name}` makes a new webhook."
        warn(connected if found["forge"] else f"`lumper project connect {name} --forge-token-file FILE` makes it.")
        sys.exit(1)


def disconnect(name: ProjectName, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Forget a project's token of the forge. The webhook there stays until it is removed there.

    Example: lumper project disconnect owner/app
    """
    with connect(target) as client:
        project = client.delete(f"projects/{name}/forge")
    tell(project, f"The forge hears of builds of {project['name']} no more.", json=json)


def make_webhook(client: Client, name: str, forge: str, url: str, token_file: Path) -> dict[str, Any]:
    """Make the webhook, and wait for its first delivery, where one comes without a push."""
    before = client.get("deliveries", project=name, limit=1)
    body = {"forge": forge, "url": url, "token": line_of(token_file, "token")}
    made: dict[str, Any] = client.put(f"projects/{name}/forge", body)
    last = before[0]["id"] if before else 0
    end = time.monotonic() + (_PING_SECONDS if made["pings"] else 0.0)
    made["delivered"] = False
    while not made["delivered"] and time.monotonic() < end:
        newest = client.get("deliveries", project=name, limit=1)
        made["delivered"] = bool(newest) and newest[0]["id"] > last
        time.sleep(0.0 if made["delivered"] else 0.5)
    return made


def tell_connected(made: dict[str, Any]) -> None:
    """Say what came of it."""
    hears = "the forge hears of every build" if made["statuses"] else "this forge shows no statuses of commits"
    print(f"The webhook at {made['forge_url']} delivers to {made['hook']}; {hears}.")
    if made["delivered"]:
        print("Its first delivery has come.")
    elif made["pings"]:
        warn(
            f"No delivery has come within {_PING_SECONDS:.0f} s: can the forge reach {made['hook']}? "
            "[server] public_url says where it is to deliver; look at the webhook's page at the forge."
        )
    else:
        print("This forge delivers nothing before the first push.")

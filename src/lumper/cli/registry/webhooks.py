"""`lumper registry webhooks`: other programs that are told what happens in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.line_file import line_of
from lumper.cli.output import Json, ago, show_json, table, tell

app = App(name="webhooks", help="Other programs that are told what happens in the registry.")

_HERE = Target()
_Webhook = Annotated[int, Parameter(help="The webhook's number.")]
_State = Literal["waiting", "delivered", "dead"]


@app.command
def add(
    url: str,
    /,
    *,
    on: Annotated[str, Parameter(negative=())] = "push,tag,untag,delete",
    repository: str = "**",
    secret_file: Path | None = None,
    format: Literal["lumper", "distribution"] = "lumper",
    private: bool = False,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Tell another program what happens in the registry from now on.

    Example: lumper registry webhooks add https://ci.example.org/images --on tag --repository 'team/**'

    Parameters
    ----------
    url
        Where to POST each event.
    on
        What to tell of, with commas: push (of a manifest), tag (set or moved), untag, delete.
    repository
        A glob, such as team/* for every repository in team.
    secret_file
        The file with the secret that signs the calls; without one a secret is made and printed.
    format
        lumper, or distribution for programs that read the notifications of CNCF's registry.
    private
        Let the URL lead to loopback and private networks.
    """
    body = {"url": url, "actions": [each.strip() for each in on.split(",")], "repositories": repository}
    with connect(target) as client:
        secret = line_of(secret_file, "secret") if secret_file else ""
        made = client.post("registry/webhooks", {**body, "secret": secret, "format": format, "private": private})
    if secret:
        del made["secret"]
    if json:
        show_json(made)
        return
    print(f"Webhook {made['id']} hears of {', '.join(made['actions'])} in {made['repositories']}.")
    if not secret:
        print(f"Its secret, shown this once: {made['secret']}")


@app.command(name="list")
def list_(*, json: Json = False, target: Target = _HERE) -> None:
    """List all webhooks.

    Example: lumper registry webhooks list
    """
    with connect(target) as client:
        found = client.get("registry/webhooks")
    if json:
        show_json(found)
        return
    rows = [(w["id"], w["url"], ",".join(w["actions"]), w["repositories"], w["format"]) for w in found]
    table(("id", "url", "on", "repositories", "format"), rows, empty="Nobody is told: add one with `webhooks add URL`.")


@app.command
def calls(
    webhook: _Webhook, /, *, state: _State | None = None, limit: int = 30, json: Json = False, target: Target = _HERE
) -> None:
    """List the newest calls of a webhook, with what became of them.

    Example: lumper registry webhooks calls 1 --state dead

    Parameters
    ----------
    state
        Only those that are waiting, delivered, or dead.
    limit
        How many at most.
    """
    with connect(target) as client:
        found = client.get(f"registry/webhooks/{webhook}/calls", state=state, limit=limit)
    if json:
        show_json(found)
        return
    rows = [
        (c["id"], c["state"], c["event"]["action"], c["event"]["repository"], c["event"]["tag"], c["tries"],
         ago(c["created_at"]), c["error"])
        for c in found
    ]  # fmt: skip
    columns = ("id", "state", "action", "repository", "tag", "failures", "when", "error")
    table(columns, rows, empty="No calls.")


@app.command
def ping(webhook: _Webhook, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Call a webhook with an event that tells of nothing, to see whether it answers.

    Example: lumper registry webhooks ping 1
    """
    with connect(target) as client:
        sent = client.post(f"registry/webhooks/{webhook}/ping")
    tell(sent, f"It is called now; what came of it: lumper registry webhooks calls {webhook}", json=json)


@app.command
def revive(webhook: _Webhook, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Give the dead calls of a webhook another chance.

    Example: lumper registry webhooks revive 1
    """
    with connect(target) as client:
        done = client.post(f"registry/webhooks/{webhook}/revive")
    tell(done, f"{done['revived']} calls wait again.", json=json)


@app.command
def remove(webhook: _Webhook, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Remove a webhook with its calls.

    Example: lumper registry webhooks remove 1
    """
    with connect(target) as client:
        gone = client.delete(f"registry/webhooks/{webhook}")
    tell(gone, f"Webhook {gone['id']} is removed.", json=json)

"""`lumper hooks`: what forges delivered, and what a delivery would do."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, plain, show_json, table, text_lines
from lumper.errors import Invalid, NotFound
from lumper.forges.all import NAMES, open_forges

app = App(name="hooks", help="Deliveries of the forges' webhooks.")

_HERE = Target()


@app.command(name="list")
def list_(
    *, project: str = "", limit: int = 30, before: int | None = None, json: Json = False, target: Target = _HERE
) -> None:
    """List the newest deliveries with what became of them.

    Example: lumper hooks list --project owner/app --json

    Parameters
    ----------
    project
        Only those to one project.
    limit
        How many at most.
    before
        Only those that came before the delivery of this number.
    """
    with connect(target) as client:
        found = client.get("deliveries", project=project, limit=limit, before=before)
    if json:
        show_json(found)
        return
    rows = [
        (d["id"], d["project"], d["forge"], d["event"], d["verdict"], ago(d["received_at"]), d["reason"]) for d in found
    ]
    table(("id", "project", "forge", "event", "verdict", "when", "reason"), rows, empty="No deliveries yet.")


@app.command
def show(delivery: int, /, *, json: bool = False, target: Target = _HERE) -> None:
    """Show a delivery as it came: its headers, its body, and the verdict on it.

    Example: lumper hooks show 12

    Parameters
    ----------
    delivery
        The delivery's number.
    json
        Print JSON; `body` is the body as text.
    """
    with connect(target) as client:
        found = client.get(f"deliveries/{delivery}")
    if json:
        show_json(found)
        return
    print(f"Delivery  {found['id']}, {ago(found['received_at'])}, of {found['forge']}: {plain(found['event'])}")
    print(f"Project   {plain(found['project'])}")
    print(f"Verdict   {found['verdict']}: {plain(found['reason'])}\n")
    for name, value in found["headers"].items():
        print(f"{plain(name)}: {plain(value)}")
    print(f"\n{text_lines(found['body'])}")


@app.command
def replay(delivery: int, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Judge a delivery by today's rules, and start the builds of it that are missing.

    Example: lumper hooks replay 12

    Parameters
    ----------
    delivery
        The delivery's number.
    """
    with connect(target) as client:
        accepted = client.post(f"deliveries/{delivery}/replay")
    if json:
        show_json(accepted)
        return
    builds = ", ".join(map(str, accepted["builds"]))
    print(f"{accepted['verdict']}: {accepted['reason']}" + (f" Build {builds} is queued." if builds else ""))


@app.command
def explain(
    payload: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    forge: Annotated[str, Parameter(help=f"{NAMES}.")],
    headers: Path | None = None,
) -> None:
    """Print as JSON what a delivery would do, without doing it and without checking its signature.

    Example: lumper hooks explain --forge github --headers headers.json payload.json

    Parameters
    ----------
    payload
        The file with the body of the request, "-" for standard input.
    headers
        A file with the request's headers as one JSON object.
    """
    from lumper.forges.port import Request
    from lumper.forges.rules import explain_delivery

    known = open_forges().get(forge)
    show_json(explain_delivery(known, Request(_headers(headers), _read(payload))).as_dict())


def _read(path: Path) -> bytes:
    try:
        return Path("/dev/stdin").read_bytes() if str(path) == "-" else path.read_bytes()
    except OSError as exc:
        raise NotFound(f"{path} cannot be read: {exc.strerror}.") from exc


def _headers(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        found = json_module.loads(_read(path))
        return {str(name).lower(): str(value) for name, value in found.items()}
    except (ValueError, AttributeError) as exc:
        raise Invalid(f"{path} is not a JSON object of headers.", hint='Write {"X-GitHub-Event": "push"}.') from exc

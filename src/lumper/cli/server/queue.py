"""`lumper queue`: builds that wait, workers, messages between the roles, and what was put aside."""

from __future__ import annotations

from cyclopts import App

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, ago, show_json, table, tell

app = App(name="queue", help="Builds that wait, workers, and messages between the roles.")

_HERE = Target()


@app.command
def show(*, json: Json = False, target: Target = _HERE) -> None:
    """Show the builds that wait, and why; the workers; the messages that wait, and those that were given up.

    Example: lumper queue show --json
    """
    with connect(target) as client:
        topics, builds, workers = client.get("queue"), client.get("queue/builds"), client.get("workers")
    if json:
        show_json({"topics": topics, "builds": builds, "workers": workers})
        return
    rows = [(b["position"], b["build"], b["reason"]) for b in builds]
    table(("place", "build", "waits because"), rows, empty="No build waits.")
    print()
    known = [(w["name"], f"{w['busy']} of {w['slots']}", ", ".join(w["labels"]), ago(w["seen_at"])) for w in workers]
    table(("worker", "busy", "labels", "seen"), known, empty="No worker was heard of within a day.")
    print()
    table(("topic", "waiting", "given up"), [(t["topic"], t["waiting"], len(t["dead"])) for t in topics], empty="")
    letters = [(t["topic"], letter["deliveries"], letter["reason"]) for t in topics for letter in t["dead"]]
    if letters:
        print()
        table(("topic", "tries", "given up because"), letters, empty="")
        print("\n`lumper queue revive TOPIC` tries them again.")


@app.command
def revive(topic: str, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Try the messages of a topic again that were given up.

    Example: lumper queue revive notify

    Parameters
    ----------
    topic
        events, notify, deploy or statuses.
    """
    with connect(target) as client:
        done = client.post(f"queue/{topic}/revive")
    tell(done, f"{done['revived']} messages of {topic} are tried again.", json=json)

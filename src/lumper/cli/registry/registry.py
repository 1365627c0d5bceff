"""`lumper registry`: a registry alone, and looking after what it keeps."""

from __future__ import annotations

from cyclopts import App

from lumper.cli.server.serve import ConfigFile, DataPath, Listen, serve
from lumper.registry.access import Anonymous

app = App(name="registry", help="A registry alone, and the care of what it keeps.")

app.command("lumper.cli.images.origin:key", name="key", help="Print the public key with which images are signed here.")
app.command(
    "lumper.cli.images.copying:import_", name="import", help="Copy every image of another registry into this one."
)
app.command("lumper.cli.registry.maintenance:gc", name="gc", help="Give up what nothing needs any more.")
app.command(
    "lumper.cli.registry.maintenance:verify",
    name="verify",
    help="Read everything again, and tell what is missing or wrong.",
)
app.command(
    "lumper.cli.registry.maintenance:rebuild",
    name="rebuild",
    help="Bring back from the storage what the database lost.",
)
app.command(
    "lumper.cli.registry.maintenance:adopt",
    name="adopt",
    help="Say that the database's images lie in the storage configured now.",
)
app.command("lumper.cli.registry.retention:retention", name="retention", help="Remove the tags that no rule keeps.")
app.command("lumper.cli.registry.rules:app", name="rules", help="Immutable tags, retention and quotas.")
app.command(
    "lumper.cli.registry.webhooks:app",
    name="webhooks",
    help="Other programs that are told what happens in the registry.",
)


@app.default
def alone(
    *,
    listen: Listen = None,
    data: DataPath = None,
    anonymous: Anonymous | None = None,
    config: ConfigFile = None,
) -> None:
    """Run a registry alone: the server with its web UI and accounts, without builds, mail and roll-outs.

    Example: lumper registry --listen 0.0.0.0:5000 --data /srv/registry --anonymous pull

    Parameters
    ----------
    anonymous
        What may be done without an account: none, pull or push.
    """
    serve(config, {"server.listen": listen, "data": data, "registry.anonymous": anonymous}, (), alone=True)

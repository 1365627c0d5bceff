"""`lumper registry`: a registry alone, and looking after what it keeps."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from lumper.cli.serve import serve
from lumper.config import load
from lumper.registry.access import Anonymous

app = App(name="registry", help="A registry alone, and the care of what it keeps.")


@app.default
def alone(
    *,
    listen: str | None = None,
    data: Path | None = None,
    anonymous: Anonymous | None = None,
    config: Path | None = None,
) -> None:
    """Run a registry alone: the server with its web UI and accounts, without builds, mail and roll-outs.

    Example: lumper registry --listen 0.0.0.0:5000 --data /srv/registry --anonymous pull

    Parameters
    ----------
    listen
        HOST:PORT to listen on.
    data
        The folder under which everything lies that Lumper keeps.
    anonymous
        What may be done without an account: none, pull or push.
    config
        A TOML file; `lumper config` prints one with every option.
    """
    overrides = {"server.listen": listen, "data": data, "registry.anonymous": anonymous}
    serve(load(config, overrides=overrides), set())

"""A native BuildKit client over a Docker Engine: no docker program, no plugin.

engine.py    the port's methods
address.py   where the Engine listens
upgrade.py   HTTP/1.1 to HTTP/2 on one connection
control.py   the calls Solve and Status
request.py   the request of a build, in BuildKit's terms (pure)
session.py   the connection for the calls that the engine makes back, to fetch the context
services.py  what else it may ask for: secrets, ssh agents, credentials
progress.py  status messages to steps and lines (pure)
errors.py    BuildKit's error texts to ours (pure)
api.py       the REST API for images; push.py reads what a push tells
"""

from __future__ import annotations

from lumper.build.engines.buildkit.engine import BuildKitEngine

__all__ = ["BuildKitEngine"]

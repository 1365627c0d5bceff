"""A native BuildKit client, over a Docker Engine or a buildkitd: no docker program, no plugin.

engine.py    the port's methods, on a Docker Engine
daemon.py    the same on a buildkitd, whose images the worker keeps
address.py   where either listens
link.py      how either is reached: upgrade.py (HTTP/1.1 to HTTP/2), or tunnel.py (a session within a call);
             frames.py is HTTP/2 itself
building.py  one build, over any link; status.py is what it tells, told_line.py what an error tells of its line
control.py   the calls Solve and Status, and what tells and prunes the cache (cache.py)
groups.py    control groups, for limits
request.py   the request of a build, in BuildKit's terms (pure)
session.py   the connection for the calls that the engine makes back, to fetch the context
context.py   how a context is sent: as a stream, or by filesync.py out of spool.py, under shared_keys.py
services.py  what else it may ask for: secrets, ssh agents, credentials; content.py: stores of the worker
progress.py  status messages to steps and lines (pure)
errors.py    BuildKit's error texts to ours (pure)
api.py       a Docker Engine's REST API for images; push_reader.py reads what a push tells
direct_push.py   a push without the Engine, out of its folder.py, layer_push.py by layer
layout.py    images in a folder of the worker; layout_push.py pushes them; kept_images.py is both as methods of the port
"""

from __future__ import annotations

from lumper.build.engines.buildkit.engine import BuildKitEngine

__all__ = ["BuildKitEngine"]

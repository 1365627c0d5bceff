"""Builds by the `buildx` program on a builder of its own, for what a Docker Engine itself lacks.

engine.py    the port's methods: build by buildx, push from the worker's folder
commands.py  what buildx is asked for, as arguments (pure)
rawjson.py   what buildx says, to BuildKit's messages (pure)
context.py   the context as a tar on disk
syntax.py    a Dockerfile that asks for no syntax image (pure)
program.py   where buildx is, and how it is called
choosing.py  an engine that builds what it can, and has another one build the rest
"""

from __future__ import annotations

from lumper.build.engines.buildx.engine import BuildxEngine

__all__ = ["BuildxEngine"]

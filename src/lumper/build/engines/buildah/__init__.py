"""Builds by the `buildah` program: no daemon, and no root where the system lets users have namespaces.

engine.py    the port's methods
commands.py  what buildah is asked for, as arguments (pure)
place.py     folders, settings, and what is swept there; unpack.py brings a context in
ability.py   what buildah can do on this machine, found by trying
process.py   a program on its way: who says what, in order; and its end with everything that it started
storage.py   what of the images is only a cache
progress.py  what buildah says to steps and lines (pure)
errors.py    its errors to ours (pure)
"""

from __future__ import annotations

from lumper.build.engines.buildah.engine import BuildahEngine

__all__ = ["BuildahEngine"]

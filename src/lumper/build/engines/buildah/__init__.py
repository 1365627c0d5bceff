"""Builds by the `buildah` program: no daemon, and no root where the system lets users have namespaces.

engine.py    the port's methods
commands.py  what buildah is asked for, as arguments (pure)
cache_ids.py ids of cache mounts that only one project has (pure)
home.py      folders, settings, and what is swept there
ability.py   what buildah can do on this machine, found by trying
storage.py   what of the images is only a cache
progress.py  what buildah says to steps and lines (pure)
errors.py    its errors to ours (pure)
"""

from __future__ import annotations

from lumper.build.engines.buildah.engine import BuildahEngine

__all__ = ["BuildahEngine"]

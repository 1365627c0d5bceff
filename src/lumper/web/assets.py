"""The files that pages load: under one hash of all of them, so that browsers may keep them for ever.

/static/<hash>/<name>
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


class Assets:
    """The static files of one folder, with its subfolders."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    @cached_property
    def _files(self) -> dict[str, Path]:
        found = (path for path in self._folder.rglob("*") if path.is_file() and path.suffix in _TYPES)
        return {path.relative_to(self._folder).as_posix(): path for path in sorted(found)}

    @cached_property
    def version(self) -> str:
        """A hash of all files: it is part of every address, and style sheets and modules find each other under it."""
        digest = hashlib.sha256()
        for name, path in self._files.items():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of a file."""
        return f"/static/{self.version}/{name}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send a file. Names are looked up, never joined to a path."""
        path = self._files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        known = request.match_info["version"] == self.version
        headers = {"Cache-Control": _FOR_EVER if known else "no-cache", "Content-Type": _TYPES[path.suffix]}
        return web.FileResponse(path, headers=headers)

"""A registry on loopback that only serves: images made by hand from Debian's static busybox, behind a login or not."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import secrets
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from parts.servers.http_server import serving

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass
class StaticRegistry:
    """What it serves. `address` is host:port; `login` is the only user name and password that may pull, if set.

    `pulled_by` are the user names that manifests were handed to.
    """

    address: str = ""
    login: tuple[str, str] | None = None
    bearer: bool = False
    pulled_by: list[str] = field(default_factory=list)
    _blobs: dict[str, bytes] = field(default_factory=dict)
    _token: str = field(default_factory=secrets.token_hex)

    def add(self, command: list[str], *, healthcheck: list[str] | None = None) -> str:
        """Make an image that runs `command` in a busybox; its manifest's digest, a new one each time.

        `healthcheck` is run every 50 ms and calls the container unhealthy after the first failure.
        """
        layer, diff_id = busybox_layer()
        run: dict[str, Any] = {"Cmd": command, "Env": ["PATH=/bin"], "Labels": {"made": secrets.token_hex(8)}}
        if healthcheck:
            run["Healthcheck"] = {
                "Test": ["CMD", *healthcheck],
                "Interval": 50_000_000,
                "Timeout": 5_000_000_000,
                "Retries": 1,
            }
        config = json.dumps(
            {
                "architecture": architecture(),
                "os": "linux",
                "config": run,
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": self._put(config), "size": len(config)},
            "layers": [{"mediaType": _LAYER, "digest": self._put(layer), "size": len(layer)}],
        }
        return self._put(json.dumps(manifest).encode())

    def _put(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._blobs[digest] = data
        return digest

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request below /v2/ and the one for a token."""
        user = self._user(request)
        if request.path == "/token":
            if user is None:
                return web.Response(status=401)
            return web.json_response({"token": self._token, "access_token": self._token})
        if user is None:
            realm = (
                f'Bearer realm="http://{self.address}/token",service="test"' if self.bearer else 'Basic realm="test"'
            )
            return web.json_response(
                {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]},
                status=401,
                headers={"WWW-Authenticate": realm},
            )
        return self._served(request, user)

    def _served(self, request: web.Request, user: str) -> web.Response:
        if request.path == "/v2/":
            return web.json_response({})
        kind, digest = request.path.split("/")[-2:]
        data = self._blobs.get(digest)
        if data is None:
            code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
            return web.json_response({"errors": [{"code": code, "message": "unknown"}]}, status=404)
        if kind == "manifests":
            self.pulled_by.append(user)
        media_type = _MANIFEST if kind == "manifests" else "application/octet-stream"
        headers = {"Docker-Content-Digest": digest, "Content-Type": media_type}
        return web.Response(body=data, headers=headers)

    def _user(self, request: web.Request) -> str | None:
        if self.login is None:
            return ""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and value == self._token:
            return self.login[0]
        if scheme == "Basic" and base64.b64decode(value).decode() == ":".join(self.login):
            return self.login[0]
        return None


@asynccontextmanager
async def static_registry(
    login: tuple[str, str] | None = None, *, bearer: bool = False
) -> AsyncIterator[StaticRegistry]:
    """A registry on a free port of 127.0.0.1, which a Docker Engine asks without TLS."""
    registry = StaticRegistry(login=login, bearer=bearer)
    async with serving(registry.answer) as url:
        registry.address = url.removeprefix("http://")
        yield registry


@cache
def busybox_layer() -> tuple[bytes, str]:
    """A gzipped tar with busybox as /bin/busybox and /bin/sh, a page at /www, and its digest before compression."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for folder in ("bin", "www", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        _add(archive, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        _add(archive, "www/index.html", b"hello\n", 0o644)
        for name in ("sh", "sleep", "true", "false", "httpd", "echo", "test", "touch"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return gzip.compress(tar.getvalue(), 1, mtime=0), f"sha256:{hashlib.sha256(tar.getvalue()).hexdigest()}"


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def architecture() -> str:
    """This machine's architecture as images name it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

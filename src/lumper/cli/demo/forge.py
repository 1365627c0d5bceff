"""A forge as small as can be: git over HTTP on loopback, and a hook that delivers pushes, signed, as Gitea does.

python -m lumper.cli.demo.forge FOLDER      serve; the port is written to FOLDER/port
python -m lumper.cli.demo.forge --deliver   be the post-receive hook of the repository in the current folder
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from aiohttp import web

_NULL = "0" * 40


def serve(folder: Path) -> None:
    """Serve the repositories in `folder` until a signal comes."""
    asyncio.run(_serve(folder))


async def _serve(folder: Path) -> None:
    app = web.Application(client_max_size=1 << 28)
    app.router.add_route("*", "/{path:.*}", _Backend(folder).handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    (folder / "port.new").write_text(str(port))
    (folder / "port.new").replace(folder / "port")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


class _Backend:
    """`git http-backend` as CGI (git-http-backend(1), RFC 3875)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH_INFO": f"/{request.match_info['path']}",
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "demo",  # whoever is on this machine may push to the demo
            "REMOTE_ADDR": request.remote or "",
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate(body)
        head, _, content = output.partition(b"\r\n\r\n")
        response = web.Response(body=content)
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "status":
                response.set_status(int(value.split()[0]))
            elif name:
                response.headers[name] = value.strip()
        return response


def deliver() -> None:
    """Post one signed delivery for each ref on standard input, as a post-receive hook gets them (githooks(5))."""
    settings = json.loads(Path("hook.json").read_text())
    for line in sys.stdin:
        before, after, ref = line.split()
        commit = after if after == _NULL else _git("rev-parse", f"{after}^{{commit}}")
        payload = {
            "ref": ref,
            "before": before,
            "after": commit,
            "repository": {"full_name": settings["repository"], "clone_url": settings["clone_url"]},
            "pusher": {"login": "demo", "full_name": "Demo", "email": "demo@example.org"},
        }
        print(_post(settings, json.dumps(payload).encode()))


def _post(settings: dict[str, str], body: bytes) -> str:
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Delivery": str(uuid.uuid4()),
        "X-Gitea-Signature": hmac.new(settings["secret"].encode(), body, hashlib.sha256).hexdigest(),
    }
    request = urllib.request.Request(settings["hook"], body, headers)  # noqa: S310 - the demo's own URL
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer = json.load(response)
    except urllib.error.HTTPError as exc:
        return f"delivery refused: {exc.code} {exc.read().decode(errors='replace')}"
    return f"delivered: {answer['verdict']} - {answer['reason']}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    if sys.argv[1] == "--deliver":
        deliver()
    else:
        serve(Path(sys.argv[1]))

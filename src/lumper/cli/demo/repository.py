"""The demo's repository: a page served by a static busybox, FROM scratch, so that nothing has to be pulled."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lumper.errors import NotFound

_DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "mkdir", "-p", "/www"]
COPY index.html /www/
RUN ["/bin/busybox", "sh", "-c", "echo building && /bin/busybox cat /www/index.html"]
EXPOSE 8080
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
"""
_BROKEN = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "echo compiling… && echo 'main.c:7: expected ; before }' >&2 && exit 2"]
"""


@dataclass(frozen=True)
class Repository:
    """A bare repository at the forge, and a clone to work in."""

    bare: Path
    work: Path
    service: str
    port: int

    def create(self) -> None:
        """Make both, with the first files."""
        busybox = static_busybox()
        _git(self.bare.parent, "init", "-q", "--bare", "--initial-branch=main", str(self.bare))
        _git(self.bare, "config", "http.receivepack", "true")
        hook = self.bare / "hooks" / "post-receive"
        hook.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lumper.cli.demo.forge --deliver\n')
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
        _git(self.work.parent, "init", "-q", "--initial-branch=main", str(self.work))
        shutil.copyfile(busybox, self.work / "busybox")
        (self.work / "busybox").chmod(0o755)
        (self.work / "lumper.toml").write_text(
            f'[deploy]\nname = "{self.service}"\nports = ["127.0.0.1:{self.port}:8080"]\n\n'
            '[deploy.health]\nhttp = "/"\nport = 8080\ninterval = 0.1\n'
        )

    def connect(self, clone_url: str, repository: str, hook: str, secret: str) -> None:
        """Let the forge deliver pushes to `hook`, and the clone push to the forge."""
        settings = {"hook": hook, "secret": secret, "repository": repository, "clone_url": clone_url}
        (self.bare / "hook.json").write_text(json.dumps(settings))
        (self.bare / "hook.json").chmod(0o600)
        _git(self.work, "remote", "add", "origin", clone_url)

    def release(self, tag: str, *, broken: bool = False) -> str:
        """Change something, commit, tag and push; what the forge said."""
        (self.work / "Dockerfile").write_text(_BROKEN if broken else _DOCKERFILE)
        (self.work / "index.html").write_text(f"<h1>Hello from {tag}</h1>\n")
        _git(self.work, "add", "-A")
        _git(self.work, "commit", "-q", "-m", f"Release {tag}")
        _git(self.work, "tag", tag)
        done = subprocess.run(
            ["git", "push", "--tags", "origin", "main"],
            cwd=self.work, env=_environment(), check=True, capture_output=True, text=True,
        )  # fmt: skip
        told = [line.removeprefix("remote:").strip() for line in done.stderr.splitlines() if line.startswith("remote:")]
        return next((line for line in told if "build" in line), "\n".join(told))


def static_busybox() -> Path:
    """A busybox that needs no shared library. Raises NotFound."""
    path = shutil.which("busybox")
    if path is None or subprocess.run(["ldd", path], capture_output=True, check=False).returncode == 0:
        raise NotFound("The demo needs a static busybox.", hint="Debian: apt-get install busybox-static")
    return Path(path)


def _environment() -> dict[str, str]:
    person = {"NAME": "Demo", "EMAIL": "demo@example.org"}
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
    return {
        **os.environ,
        **who,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=_environment(), check=True, capture_output=True)

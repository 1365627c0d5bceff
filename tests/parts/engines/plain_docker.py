"""What plain `docker build` makes of a folder, what `lumper build` makes of it, and how the two differ."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "org.opencontainers.image."  # labels that Lumper adds
_FOLDERS = "dev", "proc", "sys"  # what a container gets whatever its image has


@dataclass(frozen=True)
class Built:
    """The image, or "" where there is none, and all that was said."""

    image: str
    said: str


@dataclass(frozen=True)
class Recipe:
    """What is built: `context` relative to the root of the repository, `dockerfile` to the context."""

    context: str = "."
    dockerfile: str = "Dockerfile"

    def __str__(self) -> str:
        return f"{self.context} {self.dockerfile}"

    @property
    def toml(self) -> str:
        """The same as lumper.toml."""
        return f"[build]\ncontext = {json.dumps(self.context)}\ndockerfile = {json.dumps(self.dockerfile)}\n"


class Engine:
    """A Docker Engine, asked by the `docker` program."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._program = docker_program()

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        environment = {**os.environ, "DOCKER_HOST": self.address, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        command = [self._program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=check, env=environment)

    def plain_build(self, root: Path, recipe: Recipe, name: str) -> Built:
        """`docker build` of a folder that has no .git."""
        context = root / recipe.context
        done = self.docker(
            "build", "--tag", name, "--file", str(context / recipe.dockerfile), str(context), check=False
        )
        return Built("" if done.returncode else name, done.stdout + done.stderr)

    def lumper_build(self, root: Path, cache: Path) -> Built:
        """`lumper build` of a repository."""
        environment = {**os.environ, "LUMPER_WORKER_ENGINE": self.address, "XDG_CACHE_HOME": str(cache)}
        command = [sys.executable, "-m", "lumper", "build", str(root), "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=environment, timeout=900
        )
        return Built("" if done.returncode else json.loads(done.stdout)[0]["images"][0], done.stderr)

    def config(self, image: str) -> dict[str, Any]:
        """What an image says of how it runs."""
        [found] = json.loads(self.docker("image", "inspect", image).stdout)
        config = {key: value for key, value in found["Config"].items() if value and key not in ("Image", "Hostname")}
        labels = {key: value for key, value in (config.pop("Labels", None) or {}).items() if not key.startswith(OURS)}
        return {**config, "Labels": labels, "Os": found["Os"], "Architecture": found["Architecture"]}

    def files(self, image: str) -> dict[str, str]:
        """Every file of an image: kind, mode, owner, where a link leads, and a hash of the content."""
        container = self.docker("create", image, "-").stdout.strip()
        try:
            with tempfile.TemporaryFile() as file:
                command = [self._program, "--host", self.address, "export", container]
                subprocess.run(command, stdout=file, check=True)
                file.seek(0)
                with tarfile.open(fileobj=file) as archive:
                    return dict(_entries(archive))
        finally:
            self.docker("rm", container)


def docker_program() -> str:
    """A `docker` that builds with BuildKit: before 23.0 by itself, later ones with the plugin buildx."""
    for program in (shutil.which("docker"), "/usr/bin/docker"):
        if program and os.access(program, os.X_OK):
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            plugin = subprocess.run([program, "buildx", "version"], capture_output=True, check=False)
            if int(re.findall(r"\d+", version)[0]) < 23 or plugin.returncode == 0:
                return program
    raise FileNotFoundError("no `docker` program that builds with BuildKit")


def _entries(archive: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for member in archive:
        if member.name.partition("/")[0] in _FOLDERS:
            continue
        content = archive.extractfile(member) if member.isreg() else None
        digest = hashlib.sha256(content.read()).hexdigest()[:16] if content else ""
        kind = "hardlink" if member.islnk() else member.type.decode()
        yield member.name, f"{kind} {member.mode:o} {member.uid}:{member.gid} {member.linkname} {digest}"


def failed_step(said: str) -> str:
    """The begin of the last instruction that is told of as the one that failed, such as `[2/3] RUN make`, or ""."""
    failed = re.findall(r"^ ?> (\[[^\n]*?\d/\d+\] [^\n]{1,60})", said, re.MULTILINE)
    failed = failed or re.findall(r"[Ss]tep `(\[[^\n]*?\d/\d+\] [^\n`]{1,60})", said)
    return failed[-1].strip().removesuffix(":") if failed else ""


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What is not the same in both, a line each."""
    names = sorted(set(one) | set(other))
    return [f"{n}: {one.get(n, 'nothing')} | {other.get(n, 'nothing')}" for n in names if one.get(n) != other.get(n)]

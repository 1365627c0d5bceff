"""Where images are copied from and to: our own registry, another one, an archive; with whose credentials."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from lumper.cli.client import Target, connect
from lumper.cli.line_file import line_of
from lumper.errors import Invalid
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.docker_config import credentials_for
from lumper.registry.remote.reference import Reference, parse_reference
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.archive import open_archive
from lumper.registry.transfer.source import RemoteSource, Source

_ARCHIVES = ("oci:", "oci-archive:", "docker-archive:")


@dataclass(frozen=True)
class Login:
    """How to sign in at one side of a copy. Without a name and password, as `docker login` has."""

    username: str = ""
    password_file: Path | None = None
    auth_host: str = ""
    ca_file: Path | None = None

    def credentials(self, url: str) -> Credentials:
        """The credentials for the registry at this URL. Raises Invalid."""
        if self.password_file is not None:
            return Credentials(self.username, line_of(self.password_file, "password"))
        if self.username:
            raise Invalid("There is a user name without a password.", hint="Give the file that holds it.")
        folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        try:
            text = (folder / "config.json").read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return Credentials()
        return credentials_for(url.partition("://")[2], text) or Credentials()


class ImageLocations:
    """Opens both sides of a copy, and closes them at the end. The server is looked for only if it is needed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._local = contextlib.ExitStack()
        self._open: dict[str, RemoteRegistry] = {}

    async def __aenter__(self) -> ImageLocations:
        return self

    async def __aexit__(self, *_: object) -> None:
        for registry in self._open.values():
            await registry.close()
        self._local.close()

    def registry(self, url: str, login: Login) -> RemoteRegistry:
        """The registry at this URL, "" for our own, of which the server that the target names has the token."""
        if url not in self._open:
            if url:
                credentials = login.credentials(url)
                self._open[url] = RemoteRegistry(url, credentials, auth_host=login.auth_host, ca_file=login.ca_file)
            else:
                client = self._local.enter_context(connect(self._target))
                # at once: with a public URL the realm is at another address than the one by which we reach it
                self._open[url] = RemoteRegistry(client.url, Credentials("lumper", client.token, at_once=True))
        return self._open[url]

    def source(self, text: str, login: Login) -> Source:
        """What SOURCE names. Raises Invalid, ArchiveError."""
        if archive := _archive(text):
            return open_archive(*archive)
        reference = parse_reference(text)
        return RemoteSource(self.registry(reference.url, login), reference.repository, reference.name)

    def destination(self, text: str, login: Login) -> tuple[RemoteRegistry, Reference]:
        """What DEST names. Raises Invalid."""
        if _archive(text):
            raise Invalid("Images are copied into registries only.", hint="skopeo copies them into archives.")
        reference = parse_reference(text)
        if reference.digest:
            raise Invalid("The destination has a tag, and no digest: that is the image's own.")
        return self.registry(reference.url, login), reference


def _archive(text: str) -> tuple[Path, str] | None:
    """Path and image name, if the text names a folder or file: oci:PATH, PATH:NAME, what begins as a path, FILE.tar."""
    kind = next((one for one in _ARCHIVES if text.startswith(one)), "")
    if not kind and not text.startswith(("/", "./", "../", "~")) and not text.partition(":")[0].endswith(".tar"):
        return None
    path = Path(text.removeprefix(kind)).expanduser()
    if path.exists():
        return path, ""
    head, _, name = str(path).partition(":")
    return Path(head), name

"""Git LFS: the pointers in a commit, and the files that they stand for.

Sources: git-lfs/git-lfs, docs/spec.md ("The Pointer"), docs/api/batch.md, docs/api/basic-transfers.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import aiohttp
from pydantic import BaseModel, ValidationError
from yarl import URL

from lumper.build.source.git import CHUNK, Git, printable
from lumper.build.source.objects import Objects, printable_path
from lumper.build.source.pinned_address import AddressGuard, same_keeper, server_of
from lumper.errors import GitUnauthorized, GitUnreachable, SourceError, SourceRefused
from lumper.model.source import parse_git_url

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-\d-[^\n]+\n)*"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d{1,15})\n?"
)
_SIZES = range(100, 1025)  # bytes of a pointer: the specification says below 1024
_ENTRY = re.compile(rb"(?P<mode>100\d{3}) blob (?P<id>[0-9a-f]+) +(?P<size>\d+)\t(?P<path>.+)", re.DOTALL)
_MEDIA = "application/vnd.git-lfs+json"
_AT_ONCE = 100  # objects in one question, as git-lfs asks
_ANSWER = 4 << 20  # bytes
_SAID = 200  # characters of what a server says
_HINT = "Check that the project's credentials may read its LFS files."


@dataclass(frozen=True)
class Pointer:
    """Stands for a file of `size` bytes whose SHA-256 is `oid`."""

    oid: str
    size: int

    @property
    def place(self) -> str:
        """Where git-lfs(1) keeps the file, within `lfs/objects`."""
        return f"{self.oid[:2]}/{self.oid[2:4]}/{self.oid}"


def parse_pointer(content: bytes) -> Pointer | None:
    """The pointer that a file is, or None."""
    match = _POINTER.fullmatch(content)
    return Pointer(match["oid"].decode(), int(match["size"])) if match else None


async def uses_lfs(objects: Objects, tree: str) -> bool:
    """Whether the attributes at the root of a tree name the filter of LFS; one look, for every build."""
    entry = (await objects.tree(tree)).get(".gitattributes")
    found = await objects.get(entry.id) if entry is not None else None
    return found is not None and b"filter=lfs" in found[2]


async def find_pointers(
    objects: Objects, git: Git, mirror: Path, tree: str, environment: Mapping[str, str] | None = None
) -> list[tuple[str, bytes, Pointer]]:
    """Path, mode and pointer of each, in a tree that has the filter of LFS in some `.gitattributes`."""
    listing = await git.run(mirror, "ls-tree", "-r", "-z", "-l", "--full-tree", tree, extra=environment)
    entries = [match for record in listing.split(b"\0") if (match := _ENTRY.fullmatch(record))]
    attributes = [entry for entry in entries if entry["path"].rpartition(b"/")[2] == b".gitattributes"]
    if not any([b"filter=lfs" in await _content(objects, entry) for entry in attributes]):
        return []
    return [
        (entry["path"].decode("utf-8", "surrogateescape"), entry["mode"], pointer)
        for entry in entries
        if int(entry["size"]) in _SIZES and (pointer := parse_pointer(await _content(objects, entry)))
    ]


async def _content(objects: Objects, entry: re.Match[bytes]) -> bytes:
    found = await objects.get(entry["id"].decode()) if int(entry["size"]) < _ANSWER else None
    return found[2] if found else b""


def lfs_url(url: str) -> str:
    """The LFS server of a repository: docs/api/server-discovery.md. For ssh, the HTTPS side of the same host."""
    server, path = server_of(url), parse_git_url(url).path
    if server.scheme != "ssh":
        base = url.rstrip("/")
        return f"{base if base.endswith('.git') else base + '.git'}/info/lfs"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"https://{host}/{path}.git/info/lfs"


class LfsClient:
    """Downloads from one LFS server. `credentials` go to it alone; `named` is the project's own URL.

    `paths` tell by SHA-256 how the repository calls a file.
    """

    def __init__(
        self, url: str, reach: AddressGuard, named: str, credentials: tuple[str, str] | None, paths: Mapping[str, str]
    ) -> None:
        self._url = url
        self._paths = paths
        self._reach = reach
        self._named = named
        self._auth = aiohttp.BasicAuth(*credentials, encoding="utf-8") if credentials else None

    async def fetch(self, pointers: Iterable[Pointer], folder: Path) -> None:
        """Have the file of every pointer in `folder`, named by its SHA-256. Raises SourceError."""
        missing = list({pointer.oid: pointer for pointer in pointers}.values())
        try:
            async with self._reach.client(self._named) as client:
                for begin in range(0, len(missing), _AT_ONCE):
                    part = missing[begin : begin + _AT_ONCE]
                    actions = await self._batch(client, part)
                    for four in (part[at : at + 4] for at in range(0, len(part), 4)):
                        await asyncio.gather(*(self._download(client, each, actions, folder) for each in four))
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise GitUnreachable(f"The LFS server {self._url} cannot be reached: {exc}.") from exc

    async def _batch(self, client: aiohttp.ClientSession, pointers: Sequence[Pointer]) -> dict[str, _Action | str]:
        question = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
        }
        url = f"{self._url}/objects/batch"
        await self._reach.addresses(server_of(url), url, self._named)
        headers = {"Accept": _MEDIA, "Content-Type": _MEDIA}
        async with client.post(url, json=question, headers=headers, auth=self._auth, allow_redirects=False) as answer:
            content = await _all_of(answer.content, _ANSWER)
            said = parse_message(content)
            if answer.status in (401, 403):
                raise GitUnauthorized(f"The LFS server {self._url} does not let Lumper in{said}.", hint=_HINT)
            if answer.status != 200:
                raise SourceError(f"The LFS server {self._url} answers {answer.status}{said}.", hint=_HINT)
        return parse_batch(content)

    async def _download(
        self, client: aiohttp.ClientSession, pointer: Pointer, actions: Mapping[str, _Action | str], folder: Path
    ) -> None:
        action = actions.get(pointer.oid, "")
        if isinstance(action, str):
            text = f"The LFS server {self._url} does not have {self._shown(pointer)}{action}."
            raise SourceError(text, hint="`git lfs push --all` brings to the server what a clone has.")
        url, headers = urljoin(self._url, action.href), dict(action.header)
        for _ in range(5):
            place = web_url(url)
            await self._reach.addresses(server_of(place), place, self._named)
            told = "authorization" in map(str.lower, headers)
            mine = self._auth if same_keeper(self._url, place) and not told else None
            async with client.get(URL(url, encoded=True), headers=headers, auth=mine, allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    target = urljoin(url, answer.headers.get("Location", ""))
                    if not same_keeper(place, web_url(target)):
                        headers = {}
                    url = target
                    continue
                if answer.status != 200:
                    raise SourceError(f"The LFS server answers {answer.status} for {self._shown(pointer)}.", hint=_HINT)
                await _store(answer.content, pointer, folder / pointer.oid)
                return
        raise SourceError(f"The LFS server leads nowhere for {self._shown(pointer)}.")

    def _shown(self, pointer: Pointer) -> str:
        return f"{printable_path(self._paths[pointer.oid])} ({pointer.oid[:12]})"


class _Action(BaseModel):
    href: str
    header: dict[str, str] = {}


class _Actions(BaseModel):
    download: _Action | None = None


class _Message(BaseModel):
    message: str = ""

    @property
    def said(self) -> str:
        return f": {printable(self.message[:_SAID].encode())}" if self.message else ""


class _Object(BaseModel):
    oid: str
    actions: _Actions = _Actions()
    error: _Message = _Message()


class _Batch(BaseModel):
    objects: list[_Object]


def parse_message(content: bytes) -> str:
    """What the server says of an error, after a colon; "" if it says nothing."""
    try:
        return _Message.model_validate_json(content).said.rstrip(".")
    except ValidationError:
        return ""


def parse_batch(content: bytes) -> dict[str, _Action | str]:
    """From the ids of objects to their downloads, or to what is said of why there is none. Raises SourceError."""
    try:
        objects = _Batch.model_validate_json(content).objects
    except ValidationError as exc:
        raise SourceError("The LFS server's answer makes no sense.", hint="Check [lfs] url in .lfsconfig.") from exc
    return {each.oid: each.actions.download or each.error.said.rstrip(".") for each in objects}


def web_url(url: str) -> str:
    """An http(s) URL without credentials and query, for its server to be judged. Raises SourceRefused."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise SourceRefused("The LFS server names a URL that Lumper does not fetch from.", hint=_HINT)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


async def _all_of(content: aiohttp.StreamReader, most: int) -> bytes:
    """An answer, however many pieces it comes in; no more than `most` bytes of it."""
    found = bytearray()
    while len(found) < most and (piece := await content.read(most - len(found))):
        found += piece
    return bytes(found)


class Received:
    """A file on its way, which is to be the one that was promised."""

    def __init__(self, pointer: Pointer, target: BinaryIO) -> None:
        self._pointer = pointer
        self._target = target
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self, chunk: bytes) -> bool:
        """Keep what came. Whether that can still be the file. Blocking."""
        self._size += len(chunk)
        if self._size <= self._pointer.size:
            self._digest.update(chunk)
            self._target.write(chunk)
        return self._size <= self._pointer.size

    def check(self, file: Path) -> None:
        """Remove what came to `file` if it was something else. Raises SourceError then. Blocking."""
        if self._size != self._pointer.size or self._digest.hexdigest() != self._pointer.oid:
            file.unlink()
            text = f"The LFS server sent other bytes than those of {self._pointer.oid[:12]}."
            raise SourceError(text, hint="Push it anew.")


async def _store(content: aiohttp.StreamReader, pointer: Pointer, file: Path) -> None:
    """Write what comes, if it is what was promised; no more than one chunk too much of it is read."""
    with await asyncio.to_thread(file.open, "wb") as target:
        received = Received(pointer, target)
        async for chunk in content.iter_chunked(CHUNK):
            if not await asyncio.to_thread(received.take, chunk):
                break
    await asyncio.to_thread(received.check, file)

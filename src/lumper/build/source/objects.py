"""Objects of a mirror: commits, trees and files, read through one `git cat-file` process.

Paths are resolved here, from tree to tree, not by a file system: a symbolic link can lead anywhere inside of the
commit and nowhere else, and a name may hold any byte. Formats: gitformat-* manual pages and git-cat-file(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from lumper.build.source.git import Git, last_words
from lumper.errors import MirrorDamaged, SourceError
from lumper.model.source import Person

_MESSAGE = 8192  # bytes of it that are looked at
OBJECT_LIMIT = 64 << 20  # bytes; a tree of a million files
_LINKS = 40  # as Linux counts, path_resolution(7)
_PIECE = 256 << 10
_MEANINGLESS = (ValueError, IndexError, asyncio.IncompleteReadError, ConnectionError)
_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|refs/lumper/[0-9a-z]+")
_ENCODING = re.compile(r"(?i)(?:iso-?8859-?|windows-?|cp|koi8-|euc-?|gb|big5|shift_?jis|latin-?)[a-z0-9-]*")
_PERSON = re.compile(r"(?P<name>[^<]*?) ?<(?P<mail>[^>]*)> ?(?P<time>-?\d{1,18})?")


class Kind(Enum):
    """What an entry of a tree is, by its mode."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"
    SUBMODULE = "submodule"


@dataclass(frozen=True)
class Entry:
    """A name in a tree. `mode` is as git writes it.

    `trail` has the paths that were gone through to it: its own last, links before.
    """

    kind: Kind
    id: str
    trail: tuple[str, ...] = ()
    mode: bytes = b""

    @property
    def path(self) -> str:
        """Where it really lies."""
        return self.trail[-1] if self.trail else ""


@dataclass(frozen=True)
class Commit:
    """A commit. `subject` is the first paragraph of its message on one line, `message` the begin of all of it."""

    id: str
    tree: str
    author: Person
    committed_at: datetime
    subject: str
    message: str = ""


class OutsideTree(SourceError):
    """A symbolic link leaves the repository."""

    default_hint = "Point it at a file in the repository, by a relative path."


class Objects:
    """Reads objects; `environment` may name more places that have some.

    Use as a context manager; calls may come from several tasks.
    """

    def __init__(self, git: Git, mirror: Path, environment: Mapping[str, str] | None = None) -> None:
        self._git = git
        self._environment = environment
        self._mirror = mirror
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._trees: dict[str, Mapping[str, Entry]] = {}

    async def __aenter__(self) -> Objects:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the process; another one starts if something is asked for again."""
        self._process = None
        await self._stack.aclose()

    async def get(self, name: str, limit: int = OBJECT_LIMIT) -> tuple[str, str, bytes] | None:
        """Id, type and content of an object by its id or by one of our refs; None if it is not there.

        Raises SourceError if it is larger than `limit`, MirrorDamaged if git cannot read it.
        """
        async with self._asking("contents", [name]) as answers:
            head = await answers.head()
            if head is None:
                return None
            object_id, kind, size = head
            if size > limit:
                raise SourceError(f"A {kind} in the repository has {size} bytes; at most {limit} are read.")
            return object_id, kind, b"".join([piece async for piece in answers.content(size)])

    async def sizes(self, ids: Sequence[str]) -> list[int]:
        """The bytes of objects. Raises MirrorDamaged, also for one that is not there."""
        async with self._asking("info", ids) as answers:
            return [(await answers.known(object_id))[2] for object_id in ids]

    async def read(self, ids: Sequence[str]) -> AsyncGenerator[bytes]:
        """The contents of objects in pieces, an empty one after each object. Raises MirrorDamaged."""
        async with self._asking("contents", ids) as answers:
            for object_id in ids:
                _, _, size = await answers.known(object_id)
                async for piece in answers.content(size):
                    yield piece
                yield b""

    @asynccontextmanager
    async def _asking(self, command: str, names: Sequence[str]) -> AsyncIterator[_Answers]:
        """Ask about these objects, all at once; the answers come in their order."""
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"not the name of an object: {name!r}")
        async with self._lock:
            try:
                process = self._process or await self._start()
                assert process.stdin is not None and process.stdout is not None  # noqa: S101 (for the type checker)
                # Nothing waits for git to have read it: its answers are read meanwhile.
                process.stdin.write("".join(f"{command} {name}\n" for name in names).encode())
                yield _Answers(process.stdout)
            except _MEANINGLESS as exc:
                finished = await self._running.wait(2.0)
                said = last_words(finished.words) if finished else "its answer made no sense"
                await self._drop()
                raise MirrorDamaged(f"git cannot read {names[0]}: {said}") from exc
            except BaseException:  # an answer half read: the next question needs a new process
                await self._drop()
                raise

    async def _drop(self) -> None:
        self._process = None
        await self._stack.aclose()

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        start = self._git.start(
            self._mirror, "cat-file", "--batch-command", stdin=pipe, stdout=pipe, extra=self._environment
        )
        self._running = await self._stack.enter_async_context(start)
        self._process = self._running.process
        return self._process

    async def commit(self, name: str) -> tuple[str, Commit] | None:
        """The object's own id and the commit that it is or, as a tag, points at; None if it is not there.

        Raises SourceError for anything else than a commit.
        """
        first, seen = "", name
        for _ in range(10):  # tags of tags of tags
            found = await self.get(seen)
            if found is None:
                return None
            object_id, kind, content = found
            first = first or object_id
            if kind == "commit":
                return first, parse_commit(object_id, content)
            if kind != "tag":
                break
            seen = content.partition(b"\n")[0].decode("ascii", "replace").removeprefix("object ")
        raise SourceError("The tag does not point at a commit.", hint="Only commits can be built.")

    async def tree(self, tree: str) -> Mapping[str, Entry]:
        """The entries of a tree by name. Bytes that are not UTF-8 are surrogates, as in `os.fsdecode`."""
        return (await self.trees([tree]))[0]

    async def trees(self, ids: Sequence[str]) -> list[Mapping[str, Entry]]:
        """The entries of several trees, as `tree` has them."""
        if unknown := [tree for tree in dict.fromkeys(ids) if tree not in self._trees]:
            async with self._asking("contents", unknown) as answers:
                for tree in unknown:
                    _, kind, size = await answers.known(tree)
                    if kind != "tree":
                        raise MirrorDamaged(f"The tree {tree} is not in the mirror.")
                    content = b"".join([piece async for piece in answers.content(size)])
                    self._trees[tree] = parse_tree(content, len(tree) // 2)
        return [self._trees[tree] for tree in ids]

    async def find(self, root: str, path: str) -> Entry | None:
        """What lies at `path` under the tree `root`, after all symbolic links; None if there is nothing.

        Raises OutsideTree for a path or a link that leaves `root`.
        """
        trees, names, trail = [root], list[str](), list[str]()
        pending = deque(path.split("/"))
        while pending:
            part = pending.popleft()
            if part == "..":
                if not names:
                    raise OutsideTree(f"{printable_path(path)} leaves the repository.")
                trees.pop()
                names.pop()
            elif part not in ("", "."):
                entry = (await self.tree(trees[-1])).get(part)
                here = "/".join([*names, part])
                if entry is None or len(trail) > _LINKS:
                    return None
                if entry.kind is Kind.FOLDER:
                    trees.append(entry.id)
                    names.append(part)
                elif entry.kind is Kind.LINK:
                    trail.append(here)
                    pending.extendleft(reversed((await self._target(entry, here)).split("/")))
                else:
                    return None if any(rest != "." for rest in pending) else Entry(entry.kind, entry.id, (*trail, here))
        return Entry(Kind.FOLDER, trees[-1], (*trail, "/".join(names)))

    async def _target(self, entry: Entry, path: str) -> str:
        found = await self.get(entry.id, 4096)
        target = found[2].decode("utf-8", "surrogateescape") if found else ""
        if not target or target.startswith("/") or "\0" in target:
            raise OutsideTree(f"{printable_path(path)} is a symbolic link to {printable_path(target)}.")
        return target


class _Answers:
    """What git answers to a row of questions, to be read one after the other."""

    def __init__(self, stdout: asyncio.StreamReader) -> None:
        self._stdout = stdout

    async def head(self) -> tuple[str, str, int] | None:
        """Id, type and size of the next object; None if it is not there."""
        words = (await self._stdout.readline()).decode("ascii", "replace").split()
        if len(words) == 2 and words[1] == "missing":
            return None
        return words[0], words[1], int(words[2])

    async def known(self, object_id: str) -> tuple[str, str, int]:
        """The same of an object that has to be there. Raises MirrorDamaged."""
        found = await self.head()
        if found is None:
            raise MirrorDamaged(f"The object {object_id} is not in the mirror.")
        return found

    async def content(self, size: int) -> AsyncIterator[bytes]:
        """The bytes of the object whose head was read."""
        while size:
            piece = await self._stdout.read(min(size, _PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(piece, size)
            size -= len(piece)
            yield piece
        await self._stdout.readexactly(1)


def printable_path(path: str) -> str:
    """A path that a hostile repository may have chosen, fit for one line of a message."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:300]


def parse_tree(content: bytes, id_size: int) -> Mapping[str, Entry]:
    """The entries of a tree object: `mode SP name NUL id`, without end of line. Raises MirrorDamaged."""
    entries: dict[str, Entry] = {}
    position = 0
    while position < len(content):
        space, end = content.find(b" ", position), content.find(b"\0", position)
        if not position < space < end or end + 1 + id_size > len(content):
            raise MirrorDamaged("A tree of the repository is cut off.")
        name = content[space + 1 : end].decode("utf-8", "surrogateescape")
        object_id = content[end + 1 : end + 1 + id_size].hex()
        entries[name] = Entry(_kind(content[position:space]), object_id, mode=content[position:space].lstrip(b"0"))
        position = end + 1 + id_size
    return entries


def _kind(mode: bytes) -> Kind:
    match mode.lstrip(b"0")[:-4]:
        case b"4":
            return Kind.FOLDER
        case b"12":
            return Kind.LINK
        case b"16":
            return Kind.SUBMODULE
        case _:
            return Kind.FILE


def parse_commit(object_id: str, content: bytes) -> Commit:
    """Read a commit object, also one that old tools wrote strangely. Raises MirrorDamaged without a tree."""
    head, _, message = content.partition(b"\n\n")
    headers: dict[str, bytes] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        headers.setdefault(key.decode("latin-1"), value)
    tree = headers.get("tree", b"").decode("latin-1")
    if not _NAME.fullmatch(tree):
        raise MirrorDamaged(f"The commit {object_id} has no tree.")
    encoding = headers.get("encoding", b"utf-8").decode("latin-1")
    author = _PERSON.match(_decode(headers.get("author", b""), encoding))
    committer = _PERSON.match(_decode(headers.get("committer", b""), encoding))
    return Commit(
        id=object_id,
        tree=tree,
        author=Person(_line(author["name"]), _line(author["mail"])) if author else Person(),
        committed_at=_moment(committer["time"] if committer else None),
        subject=_line(_decode(message[:_MESSAGE].strip().partition(b"\n\n")[0], encoding)),
        message=_decode(message[:_MESSAGE], encoding),
    )


def _decode(data: bytes, encoding: str) -> str:
    with contextlib.suppress(LookupError, ValueError):
        if _ENCODING.fullmatch(encoding):  # Python knows more of them, and some are slow
            return data.decode(encoding)
    return data.decode("utf-8", "replace")


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:1000]


def _moment(seconds: str | None) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds or 0), UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)

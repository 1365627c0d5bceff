"""Mails into a folder, for where there is no mail server; any mail client can open it.

    FOLDER/tmp/NAME          a mail that is being written
    FOLDER/new/NAME          a mail that nobody has opened
    FOLDER/cur/NAME:2,FLAGS  a mail that a client has seen

NAME is `<seconds since the epoch>.<message id>.lumper`: the same message has the same name. Source: D. J. Bernstein,
"Using maildir format" (cr.yp.to/proto/maildir.html).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from lumper.errors import ChannelUnavailable, MessageRefused
from lumper.notify.mime import from_mail, to_mail
from lumper.notify.port import Mail, Message
from lumper.system.fsync import sync_folder

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,150}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,=@+-]{0,250}")
_INFO = ":2,"
_HEAD = 64 * 1024  # bytes of a mail that a listing reads


class MaildirChannel:
    """Writes each message as a file; on return it survives a crash. A message without recipients is kept too."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, message: Message) -> None:
        """Keep the message. Raises MessageRefused, ChannelUnavailable (the disk is full, …)."""
        if not _ID.fullmatch(message.id):
            raise MessageRefused(f"{message.id!r:.200} cannot be the name of a mail.")
        data = to_mail(message, self._sender)
        name = f"{int(message.date.timestamp())}.{message.id}.lumper"
        try:
            await asyncio.to_thread(self._write, name, data)
        except OSError as exc:
            hint = "Is there space left, and may Lumper write there?"
            raise ChannelUnavailable(f"The mail cannot be kept in {self._folder}: {exc.strerror}.", hint=hint) from exc

    def _write(self, name: str, data: bytes) -> None:
        for sub in ("tmp", "new", "cur"):
            (self._folder / sub).mkdir(mode=0o700, parents=True, exist_ok=True)
        if name in _keys(self._folder):
            return
        temporary = self._folder / "tmp" / f"{name}.{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._folder / "new" / name)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._folder / "new")

    async def close(self) -> None:
        """Nothing is held."""


class MaildirReader:
    """Reads what lies in the folder, whoever wrote it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def list_messages(self, limit: int = 100) -> list[Mail]:
        """The newest mails, the newest first, without bodies. Raises ChannelUnavailable."""
        return await asyncio.to_thread(self._list, limit)

    async def read_message(self, key: str) -> Mail | None:
        """A mail whole, or None. Raises ChannelUnavailable."""
        return await asyncio.to_thread(self._read, key)

    def _list(self, limit: int) -> list[Mail]:
        with _translated(self._folder):
            keys = _keys(self._folder)
            mails = []
            for key in sorted(keys, key=_order, reverse=True)[: max(limit, 0)]:
                with contextlib.suppress(FileNotFoundError), keys[key].open("rb") as file:
                    mails.append(from_mail(key, file.read(_HEAD), headers_only=True))
            return mails

    def _read(self, key: str) -> Mail | None:
        with _translated(self._folder):
            path = _keys(self._folder).get(key)
            try:
                return from_mail(key, path.read_bytes()) if path else None
            except FileNotFoundError:  # a client renamed or removed it just now
                return None


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ChannelUnavailable(f"The mails in {folder} cannot be read: {exc.strerror}.") from exc


def _keys(folder: Path) -> dict[str, Path]:
    """The files of all mails, by the part of their name that a client leaves as it is."""
    found: dict[str, Path] = {}
    for sub in ("cur", "new"):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder / sub) as entries:
            for entry in entries:
                key = entry.name.partition(_INFO)[0]
                if _KEY.fullmatch(key) and entry.is_file(follow_symlinks=False):
                    found[key] = Path(entry.path)
    return found


def _order(key: str) -> tuple[int, str]:
    seconds = key.partition(".")[0]
    return (int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 12 else 0, key)

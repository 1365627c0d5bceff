"""TLS at the one port: a certificate and its key, read again when the files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from lumper.errors import Invalid
from lumper.logs import get_logger

log = get_logger(__name__)

_LOOK_SECONDS = 10.0
_PAIR = "Name the two that were made together; certbot's are fullchain.pem and privkey.pem."

_Stamp = tuple[tuple[int, int, int] | None, ...]


class Certificate:
    """What the server shows of itself. `context` is for the listener and stays the same when the files change.

    Raises Invalid if the files are no certificate with its key.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._seen = self._stamp()  # before they are read: what changes meanwhile is read again
        self._current = _context(certificate, key)
        self.context = self._current
        self.context.sni_callback = self._choose

    async def watch(self) -> None:
        """Look for ever whether the files have changed."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Read the files again if they have changed; if they do not fit, the certificate before goes on."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._current = _context(self._certificate, self._key)
        except Invalid as exc:
            log.error("the new certificate is not used", action="tls.refused", error=exc.sentence)
        else:
            log.info("a new certificate is in use", action="tls.renewed", certificate=str(self._certificate))

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called for every handshake, with or without a name in it."""
        connection.context = self._current

    def _stamp(self) -> _Stamp:
        return tuple(_stamp(path) for path in (self._certificate, self._key))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in (certificate, key):
        _check_readable(path)

    def passphrase() -> str:
        hint = f"Take the passphrase off: openssl pkey -in {key} -out NEW, readable for Lumper only."
        raise Invalid(f"The key {key} is locked with a passphrase.", hint=hint)

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as exc:
        if "MISMATCH" in str(exc):
            raise Invalid(f"The key {key} is not the one of the certificate {certificate}.", hint=_PAIR) from exc
        raise Invalid(f"{certificate} and {key} are not a certificate and its key in PEM.", hint=_PAIR) from exc
    return context


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as exc:
        hint = "Check [server] tls_certificate and tls_key, and that Lumper's user may read them."
        raise Invalid(f"{path} cannot be read: {exc.strerror}.", hint=hint) from exc

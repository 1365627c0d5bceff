"""Mail by SMTP (RFC 5321) with STARTTLS (RFC 3207) and AUTH (RFC 4954), one connection a message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from pathlib import Path
from typing import Literal

import aiosmtplib

from lumper.errors import ChannelUnavailable, ConfigError, MessageRefused, Problem
from lumper.model.addresses import on_loopback
from lumper.notify.mime import sender_address, to_mail
from lumper.notify.port import Message

Security = Literal["starttls", "tls", "none"]


class EmailChannel:
    """A mail server. `timeout` is in seconds, for each answer of the server; a whole delivery may take four times that.

    `ca_file` is trusted besides the system's authorities. The password is sent over TLS only, or to this machine.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        username: str = "",
        password: str = "",
        security: Security = "starttls",
        timeout: float = 30.0,
        ca_file: Path | None = None,
    ) -> None:
        if username and security == "none" and not on_loopback(host):
            raise ConfigError(
                "[mail]",
                (Problem(0, "mail.security", f'"none" would send the password to {host} for everybody to read'),),
                hint='Set it to "starttls" or "tls", or leave out mail.username.',
            )
        self._host = host
        self._port = port
        self._sender = sender
        self._username = username
        self._password = password
        self._security = security
        self._timeout = timeout
        self._tls = None if security == "none" else _tls_context(ca_file)

    async def send(self, message: Message) -> None:
        """Hand the mail to the server. Raises ChannelUnavailable, MessageRefused."""
        if not message.to:
            raise MessageRefused("There is nobody to send it to.", hint="Set [mail] admin, or add to [mail.people].")
        data = to_mail(message, self._sender)
        try:
            async with asyncio.timeout(4 * self._timeout):
                await self._deliver(message.to, data)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as exc:
            raise self._translated(exc) from exc

    async def _deliver(self, to: tuple[str, ...], data: bytes) -> None:
        smtp = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            timeout=self._timeout,
            local_hostname=sender_address(self._sender).rpartition("@")[2],
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            tls_context=self._tls,
        )
        try:
            await self._connect(smtp)
            refused, _ = await smtp.sendmail(sender_address(self._sender), list(to), data)
            if refused:
                raise aiosmtplib.SMTPRecipientsRefused(
                    [aiosmtplib.SMTPRecipientRefused(code, text, name) for name, (code, text) in refused.items()]
                )
            with contextlib.suppress(
                aiosmtplib.SMTPException, OSError
            ):  # it has the mail; how it says goodbye is its own
                await smtp.quit(timeout=5.0)
        finally:
            smtp.close()

    async def _connect(self, smtp: aiosmtplib.SMTP) -> None:
        try:
            await smtp.connect()
            if self._username:
                await smtp.login(self._username, self._password)
        except aiosmtplib.SMTPResponseException as exc:
            raise _NotLetIn(exc.code, exc.message) from exc

    def _translated(self, exc: Exception) -> ChannelUnavailable | MessageRefused:
        server = f"{self._host}:{self._port}"
        if isinstance(exc, _NotLetIn):
            hint = "Check [mail] security, username and password; the mail waits until they are right."
            return ChannelUnavailable(f"The mail server {server} does not let Lumper in: {self._words(exc)}", hint=hint)
        if isinstance(exc, aiosmtplib.SMTPRecipientsRefused):
            words = "; ".join(f"{refused.recipient}: {self._words(refused)}" for refused in exc.recipients)
            final = all(refused.code >= 500 for refused in exc.recipients)
            kind: type[ChannelUnavailable] | type[MessageRefused] = MessageRefused if final else ChannelUnavailable
            return kind(f"The mail server {server} refused the recipient: {words}")
        if isinstance(exc, aiosmtplib.SMTPResponseException):
            kind = MessageRefused if 500 <= exc.code < 600 else ChannelUnavailable
            return kind(f"The mail server {server} refused the mail: {self._words(exc)}")
        if isinstance(exc, TimeoutError):
            return ChannelUnavailable(f"The mail server {server} does not answer.")
        return ChannelUnavailable(f"The mail server {server} cannot be used: {self._hidden(str(exc))}")

    def _words(self, exc: aiosmtplib.SMTPResponseException) -> str:
        return f"{exc.code} {self._hidden(exc.message)}"

    def _hidden(self, text: str) -> str:
        """What a server said, on one line and without the password, should it send that back."""
        line = " ".join(text.split())[:500]
        if not self._password:
            return line
        sent = (self._password.encode(), f"\0{self._username}\0{self._password}".encode())
        for secret in (self._password, *(base64.b64encode(data).decode() for data in sent)):
            line = line.replace(secret, "…")
        return line

    async def close(self) -> None:
        """Nothing is held between messages."""


class _NotLetIn(aiosmtplib.SMTPResponseException):
    """A refusal before the server has seen anything of the message: the settings are wrong, not the message."""


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as exc:  # ssl.SSLError is one, too
            problem = Problem(0, "mail.ca_file", f"{ca_file} cannot be read as certificates: {exc.strerror or exc}")
            raise ConfigError("[mail]", (problem,)) from exc
    return context

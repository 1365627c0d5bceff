"""A real SMTP server on loopback, with STARTTLS or TLS, AUTH, a certificate of its own making, and bad moods."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME = "lumper"
PASSWORD = "correct horse battery"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's mail server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@dataclass
class Received:
    """One mail as it came, with its envelope and whether the connection was encrypted."""

    sender: str
    recipients: list[str]
    data: bytes
    encrypted: bool
    login: str


@dataclass
class Mailbox:
    """What the server has taken, and what it answers instead of taking."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answer_to_rcpt: dict[str, str] = field(default_factory=dict)
    answer_to_data: str = "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Called by aiosmtpd at RCPT TO."""
        answer = self.answer_to_rcpt.get(address, "250 OK")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd at the end of DATA."""
        if self.answer_to_data.startswith("2"):
            login = session.auth_data.login.decode() if isinstance(session.auth_data, LoginPassword) else ""
            data = envelope.original_content or b""
            encrypted = _transport(server).get_extra_info("ssl_object") is not None
            self.received.append(Received(envelope.mail_from or "", envelope.rcpt_tos, data, encrypted, login))
        return self.answer_to_data


def _transport(server: SMTP) -> asyncio.BaseTransport:
    assert server.transport
    return server.transport


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    good = isinstance(data, LoginPassword) and data == LoginPassword(USERNAME.encode(), PASSWORD.encode())
    if good:
        return AuthResult(success=True, auth_data=data)
    sent = data.password.decode() if isinstance(data, LoginPassword) else ""
    return AuthResult(success=False, handled=False, message=f"535 5.7.8 {sent} is not the password")


@asynccontextmanager
async def smtp_server(
    certificate: tuple[Path, Path] | None, *, tls: bool = False, auth: bool = True, port: int = 0
) -> AsyncIterator[Mailbox]:
    """A server that offers STARTTLS, or speaks TLS from the first byte, or neither without a certificate."""
    mailbox = Mailbox()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    def protocol() -> SMTP:
        starttls = context if not tls else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # AUTH without STARTTLS: here the whole connection is TLS
            return SMTP(
                mailbox,
                hostname="mail.test",
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_required=auth,
                auth_require_tls=starttls is not None,
                authenticator=_authenticate if auth else None,
                loop=asyncio.get_running_loop(),
            )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=context if tls else None)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()

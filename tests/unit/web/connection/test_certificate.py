"""The server's certificate: what fits, what does not, and what a new one changes for connections to come."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lumper.errors import Invalid
from lumper.web.connection import certificate as watched
from lumper.web.connection.certificate import Certificate
from parts.servers.certificates import Authority, Pair
from parts.suite.eventually import eventually


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def shown_by(certificate: Certificate) -> AsyncIterator[int]:
    """The port of a server that shows this certificate."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def seen(port: int, authority: Authority, name: str | None = "localhost") -> bytes:
    """The certificate that a client sees, once it has verified it; without a name none is verified, nor sent."""
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = name is not None
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()
    assert isinstance(shown, bytes)
    return shown


def open_pair(pair: Pair) -> Certificate:
    return Certificate(pair.certificate, pair.key)


async def test_a_new_certificate_is_shown_to_whom_comes_next(authority: Authority) -> None:
    certificate = open_pair(authority.certificate("localhost"))
    async with shown_by(certificate) as port:
        before = await seen(port, authority)
        certificate.refresh()
        assert await seen(port, authority) == before

        authority.certificate("localhost", "other.example")
        certificate.refresh()

        after = await seen(port, authority)
        assert after != before
        assert await seen(port, authority, "other.example") == after
        assert await seen(port, authority, None) == after


async def test_files_that_do_not_fit_change_nothing_until_they_do(authority: Authority) -> None:
    pair = authority.certificate("localhost")
    other = authority.certificate("localhost", file="other")
    certificate = open_pair(pair)
    async with shown_by(certificate) as port:
        before = await seen(port, authority)
        pair.certificate.write_bytes(other.certificate.read_bytes())  # its key is still on the way
        certificate.refresh()
        assert await seen(port, authority) == before

        pair.key.unlink()
        certificate.refresh()
        assert await seen(port, authority) == before

        pair.key.write_bytes(other.key.read_bytes())
        certificate.refresh()
        assert await seen(port, authority) == ssl.PEM_cert_to_DER_cert(other.certificate.read_text())


async def test_new_files_are_looked_for_as_long_as_the_server_runs(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_LOOK_SECONDS", 0.01)
    certificate = open_pair(authority.certificate("localhost"))
    async with shown_by(certificate) as port:
        before = await seen(port, authority)
        watching = asyncio.create_task(certificate.watch())

        authority.certificate("localhost", "other.example")

        async def shown() -> bool:
            return await seen(port, authority) != before

        await eventually(shown)
        watching.cancel()


def test_files_are_read_once_and_again_only_when_they_changed(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.certificate("localhost")
    certificate = open_pair(pair)

    def looks() -> list[str]:
        caplog.clear()
        for _ in range(3):
            certificate.refresh()
        return caplog.messages

    with caplog.at_level(logging.INFO):
        assert looks() == []
        os.utime(pair.certificate, ns=(0, 0))  # the same bytes in the same file, written anew
        assert looks() == ["a new certificate is in use"]
        new = authority.certificate("localhost", file="new").certificate
        os.utime(new, ns=(0, 0))
        new.replace(pair.certificate)
        assert looks() == ["the new certificate is not used"]  # its key is another one


async def test_a_client_that_speaks_http_2_as_well_is_told_to_speak_1_1(authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with shown_by(open_pair(authority.certificate("localhost"))) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()


async def test_what_is_older_than_tls_1_2_is_refused(authority: Authority) -> None:
    certificate = open_pair(authority.certificate("localhost"))
    context = ssl.create_default_context(cafile=authority.file)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with shown_by(certificate) as port:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.close()
        with pytest.warns(DeprecationWarning):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")


def test_a_pair_that_is_none_is_refused_with_what_to_do(authority: Authority, tmp_path: Path) -> None:
    pair = authority.certificate("localhost")
    other = authority.certificate("localhost", file="other")
    locked = authority.certificate("localhost", file="locked", passphrase="secret")
    text = tmp_path / "text"
    text.write_text("no certificate")
    for wrong, words in {
        Pair(pair.certificate, other.key): "is not the one of the certificate",
        Pair(tmp_path / "none", pair.key): "none cannot be read: No such file",
        Pair(pair.certificate, tmp_path): "cannot be read: Is a directory",
        Pair(text, pair.key): "are not a certificate and its key in PEM",
        Pair(pair.certificate, text): "are not a certificate and its key in PEM",
        locked: "is locked with a passphrase",
    }.items():
        with pytest.raises(Invalid, match=words) as refused:
            open_pair(wrong)
        assert refused.value.hint

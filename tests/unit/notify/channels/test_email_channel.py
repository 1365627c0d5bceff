"""Where a mail server is unwell or unwilling; the good days are in the channels' contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lumper.errors import ChannelUnavailable, ConfigError, MessageRefused
from lumper.notify.channels.email import EmailChannel
from lumper.notify.port import Message
from parts.servers.smtp import PASSWORD, USERNAME, Mailbox, make_certificate, smtp_server

MESSAGE = Message("id-1", ("octo@example.org",), "subject", "text\n", "<p>html</p>\n", datetime(2026, 1, 2, tzinfo=UTC))
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def mailbox(certificate: tuple[Path, Path]) -> AsyncIterator[Mailbox]:
    async with smtp_server(certificate) as mailbox:
        yield mailbox


def _channel(port: int, ca_file: Path | None = None, **options: Any) -> EmailChannel:
    values: dict[str, Any] = {
        "sender": "lumper@example.org",
        "username": USERNAME,
        "password": PASSWORD,
        "timeout": 10.0,
    }
    return EmailChannel("127.0.0.1", port, **values | {"ca_file": ca_file} | options)


@asynccontextmanager
async def _server(talk: Talk) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_the_mail_goes_encrypted_and_with_the_login(mailbox: Mailbox, certificate: tuple[Path, Path]) -> None:
    await _channel(mailbox.port, certificate[0]).send(MESSAGE)
    (received,) = mailbox.received
    assert (received.sender, received.recipients) == ("lumper@example.org", ["octo@example.org"])
    assert received.encrypted
    assert received.login == USERNAME
    assert b"Message-ID: <id-1@example.org>\r\n" in received.data
    assert b"Auto-Submitted: auto-generated\r\n" in received.data


async def test_tls_from_the_first_byte_works(certificate: tuple[Path, Path]) -> None:
    async with smtp_server(certificate, tls=True) as mailbox:
        await _channel(mailbox.port, certificate[0], security="tls").send(MESSAGE)
        assert mailbox.received[0].encrypted


async def test_without_encryption_and_login_a_relay_on_this_machine_is_used_as_it_is() -> None:
    async with smtp_server(None, auth=False) as mailbox:
        await _channel(mailbox.port, security="none", username="", password="").send(MESSAGE)
        assert not mailbox.received[0].encrypted


def test_a_password_is_never_sent_readably_to_another_machine() -> None:
    with pytest.raises(ConfigError) as caught:
        EmailChannel("mail.example.org", 25, sender="a@b.example", username="u", password=PASSWORD, security="none")
    assert "mail.security" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_file_that_is_not_certificates_is_an_error_of_the_configuration(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        _channel(25, file)
    assert "mail.ca_file" in str(caught.value)


async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(mailbox: Mailbox) -> None:
    with pytest.raises(ChannelUnavailable) as caught:
        await _channel(mailbox.port).send(MESSAGE)
    assert "certificate" in caught.value.message
    assert mailbox.received == []


async def test_a_server_without_starttls_gets_no_mail_and_no_password() -> None:
    async with smtp_server(None, auth=False) as mailbox:
        with pytest.raises(ChannelUnavailable):
            await _channel(mailbox.port).send(MESSAGE)
        assert mailbox.received == []


async def test_a_wrong_password_keeps_the_mail_waiting_and_is_not_told(
    mailbox: Mailbox, certificate: tuple[Path, Path]
) -> None:
    with pytest.raises(ChannelUnavailable) as caught:
        await _channel(mailbox.port, certificate[0], password="wrong horse").send(MESSAGE)
    assert "535" in caught.value.message
    assert "password" in caught.value.hint
    assert "wrong horse" not in caught.value.sentence


@pytest.mark.parametrize("answer", ["550 5.1.1 no such person", "553 not here"])
async def test_a_recipient_refused_for_good_is_a_refusal_in_the_server_s_words(
    mailbox: Mailbox, certificate: tuple[Path, Path], answer: str
) -> None:
    mailbox.answer_to_rcpt["octo@example.org"] = answer
    with pytest.raises(MessageRefused) as caught:
        await _channel(mailbox.port, certificate[0]).send(MESSAGE)
    assert answer in caught.value.message
    assert "octo@example.org" in caught.value.message


@pytest.mark.parametrize("where", ["rcpt", "data"])
async def test_a_refusal_for_now_is_to_be_tried_again(
    mailbox: Mailbox, certificate: tuple[Path, Path], where: str
) -> None:
    if where == "rcpt":
        mailbox.answer_to_rcpt["octo@example.org"] = "450 4.2.1 greylisted"
    else:
        mailbox.answer_to_data = "452 4.3.1 greylisted"
    with pytest.raises(ChannelUnavailable) as caught:
        await _channel(mailbox.port, certificate[0]).send(MESSAGE)
    assert "greylisted" in caught.value.message


async def test_a_mail_that_the_server_finds_bad_is_refused_in_its_words(
    mailbox: Mailbox, certificate: tuple[Path, Path]
) -> None:
    mailbox.answer_to_data = f"554 5.7.1 looks like spam, {PASSWORD}"
    with pytest.raises(MessageRefused) as caught:
        await _channel(mailbox.port, certificate[0]).send(MESSAGE)
    assert "554 5.7.1 looks like spam, …" in caught.value.message


async def test_one_refused_recipient_of_two_is_told(mailbox: Mailbox, certificate: tuple[Path, Path]) -> None:
    mailbox.answer_to_rcpt["b@example.org"] = "550 no"
    with pytest.raises(MessageRefused) as caught:
        message = Message("id-2", ("a@example.org", "b@example.org"), "s", "t\n", "h\n", MESSAGE.date)
        await _channel(mailbox.port, certificate[0]).send(message)
    assert "b@example.org: 550 no" in caught.value.message
    assert mailbox.received[0].recipients == ["a@example.org"]


async def test_nobody_to_send_to_is_a_refusal_that_says_what_to_set(mailbox: Mailbox) -> None:
    with pytest.raises(MessageRefused) as caught:
        await _channel(mailbox.port).send(Message("id-3", (), "s", "t\n", "h\n", MESSAGE.date))
    assert "[mail] admin" in caught.value.hint


async def test_a_server_that_is_not_there_is_to_be_tried_again() -> None:
    async with smtp_server(None, auth=False) as mailbox:
        port = mailbox.port
    with pytest.raises(ChannelUnavailable) as caught:
        await _channel(port).send(MESSAGE)
    assert f"127.0.0.1:{port}" in caught.value.message


async def test_a_name_that_is_not_known_is_to_be_tried_again() -> None:
    with pytest.raises(ChannelUnavailable):
        await EmailChannel("mail.invalid", 25, sender="a@b.example", security="none", timeout=10).send(MESSAGE)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.test\r\n")


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff\xfeHTTP/1.1 400 Bad Request\r\n\r\n" * 50)
    await reader.read()


async def _no_service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"554 no service for you\r\n")
    await reader.read()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof():
        writer.write(b"220-still greeting\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("talk", [_silent, _gone, _nonsense, _no_service, _endless])
async def test_a_server_that_talks_nonsense_or_nothing_is_to_be_tried_again_and_soon(talk: Talk) -> None:
    async with _server(talk) as port:
        with pytest.raises(ChannelUnavailable) as caught:
            async with asyncio.timeout(60):
                await _channel(port, security="none", username="", timeout=0.3).send(MESSAGE)
        assert len(caught.value.message) < 700


async def test_a_server_that_hangs_up_after_it_took_the_mail_has_it() -> None:
    async def abrupt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        body = False
        while line := await reader.readline():
            if body and line != b".\r\n":
                continue
            if line == b".\r\n":
                writer.write(b"250 taken\r\n")
                return
            body = line.startswith(b"DATA")
            writer.write(b"354 go on\r\n" if body else b"250 OK\r\n")

    async with _server(abrupt) as port:
        await _channel(port, security="none", username="").send(MESSAGE)


def test_the_password_is_in_no_text_of_the_channel() -> None:
    assert PASSWORD not in repr(_channel(25))

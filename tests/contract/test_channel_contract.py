"""What every channel does, asked of all of them: SMTP to a real server, a maildir, memory."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from lumper.errors import MessageRefused
from lumper.notify.channels.email import EmailChannel
from lumper.notify.channels.maildir import MaildirChannel, MaildirReader
from lumper.notify.channels.memory import MemoryChannel
from lumper.notify.mime import from_mail
from lumper.notify.port import Attachment, Channel, Mail, MailReader, Message
from parts.servers.smtp import PASSWORD, USERNAME, make_certificate, smtp_server

SENDER = "Lumper <lumper@example.org>"
MESSAGE = Message(
    id="build-7-1-failed-0123456789abcdef",
    to=("octo@example.org",),
    subject="lumper: demo/hello v1.2.3 failed at [2/3] RUN make — ünïcode " + "and long " * 12,
    text="What happened:\n.\n..\nFrom here on ünïcode\n" + "long " * 400 + "\n",
    html="<p>What happened: <b>ünïcode</b></p>\n",
    date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    attachments=(Attachment("build-7.log", "text/plain", b"\xff\x00 bytes\r\nas they are\n.\n" + b"x" * 100_000),),
)


@dataclass
class Inbox:
    """A channel, and what has come out at its other end, each message once as a mail client shows it."""

    channel: Channel
    mails: Callable[[], Awaitable[list[Mail]]]

    async def only(self) -> Mail:
        (mail,) = await self.mails()
        return mail


async def _whole(reader: MailReader) -> list[Mail]:
    mails = [await reader.read_message(mail.key) for mail in await reader.list_messages()]
    return [mail for mail in mails if mail]


@pytest.fixture(params=["email", "maildir", "memory"])
async def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inbox]:
    if request.param == "memory":
        memory = MemoryChannel(sender=SENDER)
        yield Inbox(memory, lambda: _whole(memory))
    elif request.param == "maildir":
        reader = MaildirReader(tmp_path / "mail")
        yield Inbox(MaildirChannel(tmp_path / "mail", sender=SENDER), lambda: _whole(reader))
    else:
        certificate = make_certificate(tmp_path)
        async with smtp_server(certificate) as mailbox:

            async def received() -> list[Mail]:
                by_id = {_parse(mail.data)["Message-ID"]: mail.data for mail in mailbox.received}
                return [from_mail(key, data) for key, data in by_id.items()]

            channel = EmailChannel(
                "127.0.0.1",
                mailbox.port,
                sender=SENDER,
                username=USERNAME,
                password=PASSWORD,
                ca_file=certificate[0],
                timeout=60,
            )
            yield Inbox(channel, received)
            await channel.close()


def _parse(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=policy.default)


async def test_a_message_arrives_whole(inbox: Inbox) -> None:
    await inbox.channel.send(MESSAGE)
    mail = await inbox.only()
    assert (mail.subject, mail.to, mail.date) == (MESSAGE.subject, MESSAGE.to, MESSAGE.date)
    assert mail.text == MESSAGE.text
    assert mail.html == MESSAGE.html
    assert mail.attachments == MESSAGE.attachments


async def test_a_message_without_attachments_arrives(inbox: Inbox) -> None:
    await inbox.channel.send(replace(MESSAGE, attachments=()))
    assert (await inbox.only()).attachments == ()


async def test_the_same_message_twice_shows_once(inbox: Inbox) -> None:
    await inbox.channel.send(MESSAGE)
    await inbox.channel.send(MESSAGE)
    assert (await inbox.only()).subject == MESSAGE.subject


async def test_messages_that_are_sent_at_the_same_time_all_arrive(inbox: Inbox) -> None:
    await asyncio.gather(*(inbox.channel.send(replace(MESSAGE, id=f"build-{n}")) for n in range(8)))
    assert len(await inbox.mails()) == 8


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nBcc: evil@example.org",
        "a@b.example\nRCPT TO:<evil@example.org>",
        "a@b.example,evil@example.org",
        "a b@c.example",
        "<a@b.example>",
        "A <a@b.example>",
        "Bcc: a@b.example",
        "a@b.example> NOTIFY=NEVER",
        "a@b.example\x00",
        "ä@b.example",
        "a@b..example",
        "@b.example",
        "a",
        "",
    ],
)
async def test_an_address_that_is_not_one_plain_address_is_refused(inbox: Inbox, address: str) -> None:
    with pytest.raises(MessageRefused):
        await inbox.channel.send(replace(MESSAGE, to=(*MESSAGE.to, address)))
    assert await inbox.mails() == []


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1e", "\x85", "\u2028", "\x00"])
async def test_a_subject_that_would_be_two_headers_is_refused(inbox: Inbox, end: str) -> None:
    with pytest.raises(MessageRefused):
        await inbox.channel.send(replace(MESSAGE, subject=f"lumper{end}Bcc: evil@example.org"))
    assert await inbox.mails() == []


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "a\x00.log"])
async def test_an_attachment_s_name_that_would_be_two_headers_is_refused(inbox: Inbox, name: str) -> None:
    with pytest.raises(MessageRefused):
        await inbox.channel.send(replace(MESSAGE, attachments=(Attachment(name, "text/plain", b""),)))


async def test_closing_twice_is_no_error(inbox: Inbox) -> None:
    await inbox.channel.close()
    await inbox.channel.close()

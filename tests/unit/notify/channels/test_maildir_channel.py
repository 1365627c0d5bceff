from __future__ import annotations

import mailbox
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumper.errors import ChannelUnavailable, MessageRefused
from lumper.notify.channels.maildir import MaildirChannel, MaildirReader
from lumper.notify.port import Attachment, Message

MESSAGE = Message(
    "build-7-1",
    ("octo@example.org",),
    "subject",
    "text\n",
    "<p>html</p>\n",
    datetime(2026, 1, 2, tzinfo=UTC),
    (Attachment("build-7.log", "text/plain", b"log\n"),),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mail"


def _channel(folder: Path) -> MaildirChannel:
    return MaildirChannel(folder, sender="lumper@example.org")


async def test_other_programs_read_it_as_a_maildir(folder: Path) -> None:
    await _channel(folder).send(MESSAGE)
    (mail,) = list(mailbox.Maildir(folder, create=False))
    assert mail["Subject"] == "subject"
    assert list((folder / "tmp").iterdir()) == []


async def test_a_message_without_recipients_is_kept(folder: Path) -> None:
    await _channel(folder).send(replace(MESSAGE, to=()))
    (mail,) = await MaildirReader(folder).list_messages()
    assert mail.to == ()


async def test_a_message_that_a_client_has_seen_is_not_written_again(folder: Path) -> None:
    await _channel(folder).send(MESSAGE)
    (file,) = (folder / "new").iterdir()
    file.rename(folder / "cur" / f"{file.name}:2,S")
    await _channel(folder).send(MESSAGE)
    (mail,) = await MaildirReader(folder).list_messages()
    whole = await MaildirReader(folder).read_message(mail.key)
    assert whole
    assert whole.attachments == MESSAGE.attachments


async def test_the_newest_come_first_and_not_more_than_asked_for(folder: Path) -> None:
    for n in range(5):
        date = MESSAGE.date + timedelta(days=n * 3650)
        await _channel(folder).send(replace(MESSAGE, id=f"m{n}", subject=f"m{n}", date=date))
    mails = await MaildirReader(folder).list_messages(3)
    assert [mail.subject for mail in mails] == ["m4", "m3", "m2"]
    assert mails[0].text == ""


async def test_a_folder_that_is_not_there_yet_has_no_mails(folder: Path) -> None:
    assert await MaildirReader(folder).list_messages() == []
    assert await MaildirReader(folder).read_message("1.m.lumper") is None


@pytest.mark.parametrize(
    "key", ["", "..", "../secret", "/etc/passwd", "new/x", "a\x00b", "x" * 5000, "link", "1.m:2,S"]
)
async def test_a_key_that_is_no_mail_s_reads_nothing(folder: Path, key: str) -> None:
    await _channel(folder).send(MESSAGE)
    (folder / "secret").write_text("Subject: secret\n\n")
    (folder / "new" / "link").symlink_to(folder / "secret")
    assert await MaildirReader(folder).read_message(key) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00" * 99,
        b"Subject: =?x?b?%%%?=\nDate: never\nTo: ,,<>\n\n",
        b"Date: Fri, 99 Foo 99999\n\nx",
        b"Content-Type: multipart/mixed\n\n",
        b'Content-Type: text/plain; charset="nope"\n\n\xff',
    ],
)
async def test_a_file_that_is_no_good_mail_is_shown_as_far_as_it_goes(folder: Path, data: bytes) -> None:
    await _channel(folder).send(MESSAGE)
    (folder / "new" / "1.broken").write_bytes(data)
    keys = [mail.key for mail in await MaildirReader(folder).list_messages()]
    assert sorted(keys) == ["1.broken", f"{int(MESSAGE.date.timestamp())}.build-7-1.lumper"]
    assert await MaildirReader(folder).read_message("1.broken")


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 200, "a b"])
async def test_a_message_whose_id_is_no_file_s_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(MessageRefused):
        await _channel(folder).send(replace(MESSAGE, id=name))


async def test_a_folder_that_cannot_be_is_a_matter_of_time(folder: Path) -> None:
    folder.write_text("a file is in the way")
    with pytest.raises(ChannelUnavailable) as caught:
        await _channel(folder).send(MESSAGE)
    assert str(folder) in caught.value.message
    with pytest.raises(ChannelUnavailable):
        await MaildirReader(folder).list_messages()


async def test_mails_are_for_the_owner_s_eyes_only(folder: Path) -> None:
    await _channel(folder).send(MESSAGE)
    assert (folder / "new").stat().st_mode & 0o077 == 0

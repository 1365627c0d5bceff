"""A message as the mail that travels (RFC 5322, MIME), and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from email.errors import MessageError
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import formataddr, parseaddr, parsedate_to_datetime

from lumper.errors import MessageRefused
from lumper.notify.port import Attachment, Mail, Message
from lumper.notify.recipients import is_address

_POLICY = policy.SMTP.clone(cte_type="7bit")  # no server needs 8BITMIME or SMTPUTF8 for it


def sender_address(sender: str) -> str:
    """The plain address in `sender`, which may have a name before it."""
    return parseaddr(sender)[1]


def to_mail(message: Message, sender: str) -> bytes:
    """The mail with its headers, lines ended by CRLF. Without recipients it has no To.

    Raises MessageRefused for an address or a header that would be more than one.
    """
    for address in message.to:
        if not is_address(address):
            raise MessageRefused(f"{address!r} is not one plain mail address.")
    for text in (message.subject, message.id, sender, *(attachment.name for attachment in message.attachments)):
        if not text.isprintable():
            raise MessageRefused(f"{text!r:.200} cannot be in the header of a mail.")
    name, address = parseaddr(sender)
    if not is_address(address):
        raise MessageRefused(f"{sender!r} is not a mail address to send from.", hint="Set [mail] sender.")
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = formataddr((name, address))
    if message.to:
        mail["To"] = ", ".join(message.to)
    mail["Subject"] = message.subject
    mail["Date"] = message.date.astimezone(UTC)
    mail["Message-ID"] = f"<{message.id}@{address.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange (MS-OXCMAIL, section 2.2.3.2.14)
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    for attachment in message.attachments:
        main, _, sub = attachment.content_type.partition("/")
        mail.add_attachment(attachment.data, maintype=main, subtype=sub, filename=attachment.name)
    return mail.as_bytes()


def from_mail(key: str, data: bytes, *, headers_only: bool = False) -> Mail:
    """The mail in `data`, however broken it is."""
    try:
        mail = BytesParser(EmailMessage, policy=policy.default).parsebytes(data, headersonly=headers_only)
        return _read(key, mail, headers_only=headers_only)
    except (MessageError, ValueError, LookupError, AttributeError, TypeError):  # all of them seen from email.parser
        return Mail(key, "(this mail cannot be read)", (), _date_of(""), data.decode("utf-8", "replace"))


def _read(key: str, mail: EmailMessage, *, headers_only: bool) -> Mail:
    to = tuple(address for address in str(mail.get("To", "")).replace(",", " ").split() if "@" in address)
    summary = Mail(key, str(mail.get("Subject", "")), to, _date_of(str(mail.get("Date", ""))))
    if headers_only:
        return summary
    attachments = tuple(_attachment(part) for part in mail.iter_attachments())
    return replace(summary, text=_body(mail, "plain"), html=_body(mail, "html"), attachments=attachments)


def _date_of(text: str) -> datetime:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(0, UTC)


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return "" if part is None else _decoded(part).decode("utf-8", "replace").replace("\r\n", "\n")


def _attachment(part: MIMEPart) -> Attachment:
    return Attachment(part.get_filename() or "attachment", part.get_content_type(), _decoded(part))


def _decoded(part: MIMEPart) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""

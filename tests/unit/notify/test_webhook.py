"""What a webhook is sent, what may be one, and where it may lead."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lumper.errors import ChannelUnavailable
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.webhook import (
    ACTIONS,
    Call,
    CallState,
    Format,
    Webhook,
    event_of,
    may_call,
    never_called,
    ping_of,
    problems,
)
from lumper.notify.channels.webhook import WebhookCaller
from lumper.notify.webhook import SIGNATURE, body_of, headers_of
from parts.servers.receiver import receiver

AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DIGEST, BEFORE = "sha256:" + "a" * 64, "sha256:" + "b" * 64
MOVED = Activity(AT, AuditAction.TAG, Actor("ann", "user", "192.0.2.1"), "team/app", "1.0", DIGEST, BEFORE, id=42)
HERE = "https://registry.example.org"


def call(event: dict[str, object]) -> Call:
    return Call(7, 1, event, CallState.WAITING, 0, AT, "", AT)


def webhook(form: Format = Format.LUMPER) -> Webhook:
    return Webhook(1, "https://ci.example.org/", ACTIONS, "**", form, private=False, created_at=AT)


def test_the_own_format_tells_what_was_done_and_by_whom() -> None:
    body = body_of(call(event_of(MOVED, "application/x", 512)), Format.LUMPER, HERE)
    assert json.loads(body) == {
        "id": "42",
        "at": "2026-05-01T12:00:00+00:00",
        "action": "tag",
        "registry": "registry.example.org",
        "repository": "team/app",
        "tag": "1.0",
        "digest": DIGEST,
        "before": BEFORE,
        "media_type": "application/x",
        "size": 512,
        "actor": {"name": "ann", "role": "user"},
    }


def test_the_envelope_is_the_one_that_other_programs_read() -> None:
    (event,) = json.loads(body_of(call(event_of(MOVED, "application/x", 512)), Format.DISTRIBUTION, HERE))["events"]
    assert event["action"] == "push"
    assert event["target"] == {
        "mediaType": "application/x",
        "size": 512,
        "length": 512,
        "digest": DIGEST,
        "repository": "team/app",
        "url": f"{HERE}/v2/team/app/manifests/{DIGEST}",
        "tag": "1.0",
    }
    assert (event["id"], event["timestamp"], event["actor"]) == ("42", AT.isoformat(), {"name": "ann"})
    gone = replace(MOVED, action=AuditAction.UNTAG, digest="")
    (event,) = json.loads(body_of(call(event_of(gone)), Format.DISTRIBUTION, HERE))["events"]
    assert (event["action"], event["target"]["tag"], event["target"]["digest"]) == ("delete", "1.0", BEFORE)
    (event,) = json.loads(body_of(call(ping_of("p", AT, Actor("ann", "admin"))), Format.DISTRIBUTION, HERE))["events"]
    assert (event["action"], event["actor"]) == ("ping", {"name": "ann"})
    assert ping_of("p", AT, Actor("ann", "admin"))["actor"] == {"name": "ann", "role": "admin"}


def test_the_signature_is_over_the_bytes_that_are_sent() -> None:
    one = call(event_of(MOVED))
    body = body_of(one, Format.LUMPER, HERE)
    headers = headers_of(one, Format.LUMPER, "s3cret", body)
    assert headers[SIGNATURE] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert (headers["Lumper-Event"], headers["Lumper-Delivery"]) == ("tag", "42")
    assert headers["Content-Type"] == "application/json"
    assert headers_of(one, Format.DISTRIBUTION, "s3cret", body)["Content-Type"].endswith("events.v2+json")


def test_a_webhook_hears_of_its_actions_in_its_repositories() -> None:
    picky = replace(webhook(), actions=(AuditAction.TAG,), repositories="team/*")
    assert picky.wants(MOVED)
    assert not picky.wants(replace(MOVED, action=AuditAction.PUSH))
    assert not picky.wants(replace(MOVED, repository="team/app/web"))


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://ci.example.org/x?y=1", True),
        ("http://[2001:db8::1]:8080/", True),
        ("ftp://example.org/", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://ann:secret@example.org/", False),
        ("https://example.org:0/", False),
        ("https://example.org:99999/", False),
        ("https://[::1/", False),
        ("https://example.org/a b", False),
        ("https://example.org/\r\nX: y", False),
        ("https://example.org/" + "x" * 2000, False),
    ],
)
def test_a_url_is_looked_at_before_it_is_kept(url: str, good: bool) -> None:
    assert (problems(url, ("tag",), "**") == []) is good


def test_every_problem_is_told_at_once() -> None:
    assert len(problems("x", (), "Team/*")) == 3


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("10.1.2.3", False, True),
        ("100.64.0.1", False, True),
        ("172.17.0.1", False, True),
        ("192.168.1.1", False, True),
        ("127.0.0.1", False, True),
        ("127.9.9.9", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("64:ff9b::7f00:1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("2002:a9fe:a9fe::1", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("::ffff:0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("100.100.100.200", False, False),
        ("fd00:ec2::254", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_which_addresses_are_called(address: str, public: bool, private: bool) -> None:
    assert may_call(address, private=False) is public
    assert may_call(address, private=True) is private


@pytest.mark.parametrize(
    ("addresses", "private", "words"),
    [
        ([], False, ""),  # it has none yet
        (["10.0.0.1", "93.184.216.34"], False, ""),
        (["10.0.0.1", "::1"], False, "here.example.org is 10.0.0.1, an address that only this machine or your own "
         "network has: say `--private` if that is meant"),
        (["10.0.0.1"], True, ""),
        (["169.254.169.254"], True, "here.example.org is 169.254.169.254, an address that is never called"),
    ],
)  # fmt: skip
def test_what_would_never_be_called_is_known_before(addresses: list[str], private: bool, words: str) -> None:
    assert never_called("here.example.org", addresses, private=private) == words


async def refusal(url: str, *, private: bool = True) -> str:
    """What is said of a call that fails."""
    caller = WebhookCaller()
    try:
        with pytest.raises(ChannelUnavailable) as refused:
            await caller.call(url, b"{}", {}, private=private)
    finally:
        await caller.close()
    return refused.value.message


async def test_an_address_of_ones_own_is_called_only_where_it_is_allowed() -> None:
    async with receiver() as here:
        port = here.url.rpartition(":")[2]
        for url in (here.url, f"http://localhost:{port}", f"http://[::ffff:127.0.0.1]:{port}"):
            assert "is not called" in await refusal(url, private=False), url
        assert here.got == []
        caller = WebhookCaller()
        await caller.call(here.url, b"body", {"X-Y": "z"}, private=True)
        await caller.close()
        assert (here.got[0].body, here.got[0].headers["X-Y"]) == (b"body", "z")


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with receiver() as here, receiver() as elsewhere:
        here.answer, here.location = lambda _: 307, elsewhere.url
        assert await refusal(here.url) == "The receiver answered 307."
        assert elsewhere.got == []


async def test_what_cannot_be_reached_is_told_in_a_sentence() -> None:
    assert "reached: Connect call failed" in await refusal("http://127.0.0.1:9/")
    assert "cannot be reached" in await refusal("http://nowhere.invalid/")
    assert "cannot be reached" in await refusal("http://169.254.169.254/latest/meta-data/")

"""A mailer: who is told what, and what becomes of mails that nobody takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lumper.errors import ChannelUnavailable, NotFound
from lumper.model.builds.build import Build, BuildState, Output, Step, StepState
from lumper.model.builds.log import to_line
from lumper.model.deployment import RolloutState
from lumper.model.events import NOTIFY, BuildReport, CancelBuild, Payload, RolloutReport
from lumper.model.source import Person
from lumper.notify.channels.memory import MemoryChannel
from lumper.notify.port import Channel, Mail, Message
from lumper.queue.brokers.memory import MemoryBroker
from lumper.roles.mailer import Mailer
from parts.line.running import message, running
from parts.suite.eventually import eventually

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOG = "".join(
    to_line(record)
    for record in (
        Step(1, "[1/1] RUN make", StepState.RUNNING, 1732440000.0),
        Output(1, 2, 1732440001.0, "cc: no input files"),
        Step(1, "[1/1] RUN make", StepState.FAILED, 1732440002.0, "exit code: 2"),
    )
).encode()
BUILD = Build(
    7, "owner/app", "refs/tags/v1.2.3", "c" * 40, "owner/app", BuildState.FAILED, 1, NOW,
    Person("ann", "ann@example.org"), Person("Ada", "ada@example.org"), NOW, NOW + timedelta(seconds=9),
    error="Step 1 failed.", log_size=len(LOG),
)  # fmt: skip
REPORT = BuildReport(BUILD, "registry.test", "http://lumper.test/builds/7")


class Unavailable:
    """A channel that cannot be reached the first times."""

    def __init__(self, behind: Channel, times: int) -> None:
        self._behind = behind
        self.times = times

    async def send(self, message: Message) -> None:
        """Raise, or hand on."""
        if self.times:
            self.times -= 1
            raise ChannelUnavailable
        await self._behind.send(message)

    async def close(self) -> None:
        """Nothing is held."""


async def read_log(build_id: int, attempt: int) -> AsyncGenerator[bytes]:
    assert (build_id, attempt) == (7, 1)
    for start in range(0, len(LOG), 7):  # lines begin and end within pieces
        yield LOG[start : start + 7]


async def mailed(
    *payloads: Payload,
    channel: Channel,
    fallback: Channel,
    read: Callable[..., object] = read_log,
    people: dict[str, str] | None = None,
    admin: str = "",
) -> MemoryBroker:
    """Let a mailer handle these messages."""
    broker = MemoryBroker()
    await broker.publish([message(payload, NOTIFY, number) for number, payload in enumerate(payloads)])
    mailer = Mailer(broker, channel, fallback, read, people=people or {}, admin=admin)  # type: ignore[arg-type]

    async def done() -> bool:
        return await broker.depth(NOTIFY) == 0

    async with running(mailer.run()):
        await eventually(done)
    return broker


async def mails(channel: MemoryChannel) -> list[Mail]:
    return [mail for each in await channel.list_messages() if (mail := await channel.read_message(each.key))]


async def test_a_failed_build_is_mailed_with_its_last_lines_and_its_log() -> None:
    channel, fallback = MemoryChannel(), MemoryChannel()
    await mailed(REPORT, channel=channel, fallback=fallback)
    [mail] = await mails(channel)
    assert mail.to == ("ada@example.org",)
    assert "owner/app v1.2.3" in mail.subject
    assert "Step 1 failed." in mail.text
    assert "cc: no input files" in mail.text
    assert b"cc: no input files" in mail.attachments[0].data
    assert await mails(fallback) == []


async def test_the_mail_map_and_the_admin_are_asked() -> None:
    channel = MemoryChannel()
    nobody = replace(REPORT, build=replace(BUILD, id=8, author=Person(), pusher=Person("bob"), log_size=0))
    await mailed(
        REPORT, nobody, channel=channel, fallback=channel, people={"ann": "ann@work.org"}, admin="admin@example.org"
    )
    assert sorted(mail.to[0] for mail in await mails(channel)) == ["admin@example.org", "ann@work.org"]


async def test_a_report_for_nobody_lands_in_the_fallback() -> None:
    channel, fallback = MemoryChannel(), MemoryChannel()
    nobody = replace(REPORT, build=replace(BUILD, author=Person(), pusher=Person()))
    await mailed(nobody, channel=channel, fallback=fallback)
    assert [mail.to for mail in await mails(fallback)] == [()]
    assert await mails(channel) == []


async def test_what_the_channel_refuses_for_good_lands_in_the_fallback() -> None:
    fallback = MemoryChannel()
    await mailed(REPORT, channel=MemoryChannel(sender="not an address"), fallback=fallback)
    assert [mail.to for mail in await mails(fallback)] == [("ada@example.org",)]


async def test_a_channel_that_is_away_is_tried_again() -> None:
    channel, fallback = MemoryChannel(), MemoryChannel()
    away = Unavailable(channel, times=1)
    await mailed(REPORT, channel=away, fallback=fallback)
    assert away.times == 0
    assert len(await mails(channel)) == 1
    assert await mails(fallback) == []


async def test_a_report_that_comes_twice_is_one_mail() -> None:
    channel = MemoryChannel()
    await mailed(REPORT, REPORT, channel=channel, fallback=channel)
    assert len(await mails(channel)) == 1


async def test_a_mail_goes_out_without_a_log_that_was_removed_with_its_project() -> None:
    async def gone(build_id: int, attempt: int) -> AsyncGenerator[bytes]:
        yield LOG[:10]
        raise NotFound(f"no build {build_id}, {attempt}")

    channel = MemoryChannel()
    await mailed(REPORT, channel=channel, fallback=channel, read=gone)
    [mail] = await mails(channel)
    assert mail.attachments == ()


async def test_a_rollout_is_mailed_with_its_journal() -> None:
    channel = MemoryChannel()
    report = RolloutReport(
        3, "app", "v1.2.3", "sha256:" + "a" * 64, RolloutState.FAILED, ("pulled", "started"), "Not healthy.", "Look.",
        "http://lumper.test/services", BUILD, NOW,
    )  # fmt: skip
    await mailed(report, channel=channel, fallback=channel)
    [mail] = await mails(channel)
    assert mail.to == ("ada@example.org",)
    for words in ("Not healthy.", "Look.", "pulled", "started"):
        assert words in mail.text


async def test_a_message_that_is_no_report_is_done_with() -> None:
    channel = MemoryChannel()
    broker = await mailed(CancelBuild(1, 1), REPORT, channel=channel, fallback=channel)
    assert len(await mails(channel)) == 1
    assert await broker.dead_letters(NOTIFY) == []

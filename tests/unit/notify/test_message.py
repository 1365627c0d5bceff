from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.builds.build import Build, BuildState, Output, Progress, Step, StepState
from lumper.model.builds.log import to_line
from lumper.model.deployment import RolloutState
from lumper.model.events import BuildReport, RolloutReport
from lumper.model.source import Person
from lumper.notify.message import message_for
from lumper.notify.mime import to_mail
from lumper.notify.port import Message
from lumper.notify.told_log import LOG_LIMIT, ToldLog

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = NOW.timestamp()
DIGEST = "sha256:" + "ab" * 32
TO = ("octo@example.org",)
BUILT = Build(
    id=7,
    project="demo/hello",
    ref="refs/tags/v1.2.3",
    commit="5f" * 20,
    image="demo/hello",
    state=BuildState.SUCCEEDED,
    attempt=1,
    created_at=NOW,
    pusher=Person("octocat", "octo@example.org"),
    author=Person("Ada", "ada@example.org"),
    started_at=NOW,
    finished_at=NOW + timedelta(seconds=83),
    digest=DIGEST,
    size=1_234_567,
    tags=("1.2.3", "1.2", "1", "latest"),
    elsewhere=("docker.io/team/app:1.2.3", "docker.io/team/app:edge"),
)
FAILED = replace(
    BUILT,
    state=BuildState.FAILED,
    digest="",
    size=0,
    tags=(),
    error="[2/3] RUN make: exit code 2",
    hint="Its last lines say why.",
)


def _log(*records: Progress) -> bytes:
    return "".join(map(to_line, records)).encode()


def _failing_log(*lines: str) -> bytes:
    make = "[2/3] RUN make"
    outputs = [Output(2, 1, AT, line) for line in lines]
    failed = Step(2, make, StepState.FAILED, AT, "exit code 2")
    return _log(
        Step(1, "[1/3] FROM scratch", StepState.CACHED, AT), Step(2, make, StepState.RUNNING, AT), *outputs, failed
    )


def _told(data: bytes) -> ToldLog:
    told = ToldLog()
    told.feed(data)
    told.end()
    return told


def _of(build: Build, log_data: bytes = b"") -> Message:
    return message_for(
        BuildReport(build, "registry.example.org", "https://l.example.org/builds/7"), to=TO, told=_told(log_data)
    )


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_build_that_succeeded_tells_what_who_how_long_and_how_to_run_it() -> None:
    message = _of(BUILT, _log(Output(1, 1, AT, "done")))
    assert message.subject == "lumper: demo/hello v1.2.3 built"
    assert message.to == TO
    assert message.date == BUILT.finished_at
    for body in (message.text, message.html):
        for part in (
            "demo/hello",
            "v1.2.3",
            "5f" * 20,
            "octocat",
            "ada@example.org",
            DIGEST,
            "1.2.3, 1.2, 1, latest",
            "docker.io/team/app:1.2.3, docker.io/team/app:edge",
            "1 min 23 s",
            f"docker run --rm registry.example.org/demo/hello@{DIGEST}",
            "https://l.example.org/builds/7",
        ):
            assert part in body
    assert "\n\n\n" not in message.text


def test_a_build_that_failed_tells_the_step_the_error_the_hint_and_the_last_lines() -> None:
    message = _of(FAILED, _failing_log(*(f"cc {n}" for n in range(100))))
    assert message.subject == "lumper: demo/hello v1.2.3 failed at [2/3] RUN make"
    for body in (message.text, message.html):
        assert FAILED.error in body
        assert FAILED.hint in body
        assert "cc 99" in body
        assert "cc 61\n" in body
        assert "cc 60\n" not in body
        assert "docker run" not in body


def test_a_build_that_failed_before_any_step_says_why_in_the_subject() -> None:
    build = replace(FAILED, error="The git repository cannot be reached.\nmore")
    assert _of(build).subject == "lumper: demo/hello v1.2.3 failed: The git repository cannot be reached."
    assert _of(build).attachments == ()


def test_a_cancelled_build_is_told_as_one() -> None:
    assert _of(replace(FAILED, state=BuildState.CANCELLED, error="")).subject.endswith(" v1.2.3 cancelled")


def test_the_whole_log_is_attached() -> None:
    (attachment,) = _of(FAILED, _failing_log("one", "two")).attachments
    assert (attachment.name, attachment.content_type) == ("build-7.log", "text/plain")
    assert attachment.data.decode().splitlines() == [
        "03:04:05  #1 CACHED [1/3] FROM scratch",
        "03:04:05  #2 [2/3] RUN make",
        "03:04:05  #2 one",
        "03:04:05  #2 two",
        "03:04:05  #2 FAILED [2/3] RUN make: exit code 2",
    ]


def test_an_endless_log_is_attached_shortened_and_says_so() -> None:
    lines = _log(*(Output(1, 1, AT, f"{n:09} " + "x" * 1000) for n in range(15_000)))
    message = _of(FAILED, lines)
    (attachment,) = message.attachments
    assert LOG_LIMIT * 0.9 < len(attachment.data) < LOG_LIMIT + 1000
    assert b"000000000 " in attachment.data
    assert b"000014999 " in attachment.data
    assert b"are left out here" in attachment.data
    assert "shortened" in message.text


def test_the_same_report_is_the_same_message_and_another_attempt_is_another() -> None:
    assert _of(BUILT) == _of(BUILT)
    others = [replace(BUILT, attempt=2), replace(BUILT, id=8), FAILED, replace(BUILT, project="other")]
    assert len({_of(build).id for build in (BUILT, *others)}) == 5


def _header_names(message: Message) -> list[bytes]:
    headers = to_mail(message, "lumper@example.org").partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [line.partition(b":")[0] for line in headers if not line.startswith((b" ", b"\t"))]


HOSTILE = [
    "\x1b[31mred\x1b[0m <script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} {% raw %}",
    "\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
    "nul\x00 bell\x07 half \ud800 pair",
    "CR\r\nBcc: evil@example.org\r\n\r\n.\r\nRCPT TO:<evil@example.org>",
    "x" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_text_anywhere_stays_text_in_one_header_for_one_recipient(text: str) -> None:
    person = Person(text, text)
    build = replace(FAILED, project=text, ref=f"refs/tags/{text}", pusher=person, author=person, error=text, hint=text)
    build = replace(build, commit=text, image=text)
    log = (
        _failing_log(text)
        + _log(Step(3, text, StepState.FAILED, AT, text))
        + b'\xff\xfe{"s":1\n[1]\n"x"\n{"s":1,"o":1}\n'
    )
    build = replace(build, digest=text, tags=(text,))
    report = BuildReport(build, text, f"javascript:{text}")
    plain, hostile = _of(FAILED, _failing_log("x")), message_for(report, to=TO, told=_told(log))
    allowed = _Tags(plain.html)
    found = _Tags(hostile.html)
    assert found.tags <= allowed.tags
    assert found.attributes <= allowed.attributes
    assert len(hostile.subject) < 400
    assert len(hostile.html) < 100_000
    assert _header_names(hostile) == _header_names(plain)
    for body in (hostile.text, hostile.html, hostile.attachments[0].data.decode()):
        assert not {c for c in body if ord(c) < 32} - {"\n", "\t"}


@given(text=st.text(st.characters(exclude_categories=()), max_size=200))
def test_whatever_a_report_says_there_is_a_mail_that_can_be_sent(text: str) -> None:
    person = Person(text, text)
    build = replace(FAILED, project=text, ref=f"refs/tags/{text}", pusher=person, author=person, error=text, hint=text)
    assert _header_names(_of(build, _failing_log(text)))
    report = RolloutReport(3, text, text, text, RolloutState.FAILED, (text,), text, text, text, build)
    assert _header_names(message_for(report, to=TO))


def test_a_log_that_was_cut_off_is_attached_as_far_as_it_goes() -> None:
    (attachment,) = _of(FAILED, _failing_log("one") + b'{"s":2,"o":1,"x":"cut o').attachments
    assert attachment.data.decode().splitlines()[-1].endswith('{"s":2,"o":1,"x":"cut o')


@pytest.mark.parametrize(
    "line",
    [
        b'{"s":1,"o":1,"x":7,"t":1}',
        b'{"s":1,"o":1,"x":"a","t":"b"}',
        b'{"s":1,"o":1,"x":"a","t":1e99}',
        b'{"s":1,"n":[],"st":"done","t":1}',
        b"7",
        b"null",
        b"[" * 100_000,
    ],
)
def test_a_line_of_another_kind_in_the_log_is_shown_as_it_is(line: bytes) -> None:
    (attachment,) = _of(FAILED, line + b"\n" + _failing_log("one")).attachments
    assert line[:15] in attachment.data


class TestRollouts:
    report = RolloutReport(
        3,
        "hello",
        "v1.2.3",
        DIGEST,
        RolloutState.SUCCEEDED,
        ("pulled", "healthy <b>"),
        "",
        "",
        "https://l.example.org/services",
        BUILT,
        NOW,
    )

    def test_a_release_that_runs_is_told_with_its_digest_and_what_was_done(self) -> None:
        message = message_for(self.report, to=TO)
        assert message.subject == "lumper: hello v1.2.3 runs"
        assert message.date == NOW
        for part in (DIGEST, "pulled", "octocat", "https://l.example.org/services"):
            assert part in message.text
            assert part in message.html
        assert "healthy &lt;b&gt;" in message.html

    def test_a_release_that_did_not_start_is_told_with_error_and_hint(self) -> None:
        report = replace(self.report, state=RolloutState.FAILED, error="not healthy", hint="The old one runs on.")
        message = message_for(report, to=TO)
        assert message.subject == "lumper: hello v1.2.3 did not start"
        assert "not healthy" in message.text
        assert "The old one runs on." in message.text

    def test_a_rollout_without_a_build_or_a_version_is_told_by_its_digest(self) -> None:
        message = message_for(replace(self.report, build=None, version=""), to=())
        assert message.subject == f"lumper: hello {DIGEST[:19]} runs"
        assert message.id != message_for(self.report, to=TO).id

"""From the report of a build or a rollout to the message that people get. Pure."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lumper.model.build import Build, BuildState, Output, Progress, Step, StepState
from lumper.model.deployment import RolloutState
from lumper.model.events import BuildReport, RolloutReport
from lumper.model.log import from_line, render
from lumper.notify.clean import Excerpt, clean_line, clip, one_line
from lumper.notify.port import Attachment, Message

LOG_LIMIT = 10 * 1024 * 1024  # bytes of the attached log; many servers refuse a mail above some 25 MB
LAST_LINES = 40
_LINE_WIDTH = 300  # characters of a log line that is quoted in the mail itself
_ERROR_WIDTH = 4000
_LATEST = 2.0**37  # seconds since the epoch
_OF_ROLLOUT = ("Build", "Project", "Tag", "Commit", "Author", "Pushed by", "Image")

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",), disabled_extensions=("txt.j2",), default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def message_for(report: BuildReport | RolloutReport, *, to: tuple[str, ...], log_data: bytes = b"") -> Message:
    """What to tell of a build or a rollout that ended.

    `log_data` is the build's log as model/log.py writes it; whatever else is in it is shown as text.
    """
    if isinstance(report, BuildReport):
        return _build_message(report, to, log_data)
    return _rollout_message(report, to)


def _build_message(report: BuildReport, to: tuple[str, ...], log_data: bytes) -> Message:
    build = report.build
    failed = _FailedStep()
    excerpt = Excerpt(render(failed.watch(_records(log_data)), shown=clean_line), LOG_LIMIT)
    what = {
        BuildState.SUCCEEDED: "built",
        BuildState.FAILED: _failure(build, failed.name),
        BuildState.CANCELLED: "cancelled",
    }.get(build.state, build.state.value)
    log_name = f"build-{build.id}.log" if log_data else ""
    values = {
        "title": f"{one_line(build.project)} {one_line(build.tag)}{_recipe(build)}: {what}",
        "good": build.state is BuildState.SUCCEEDED,
        "facts": _facts_of_build(build),
        "run": one_line(f"docker run --rm {report.registry}/{build.image}@{build.digest}", 600) if build.digest else "",
        "error": _block(build.error),
        "hint": one_line(build.hint, 500),
        "quoted": "The end of the log",
        "lines": [clip(line, _LINE_WIDTH) for line in excerpt.last(LAST_LINES)] if build.error else [],
        "page": _page(report.page),
        "log": log_name,
        "notice": excerpt.notice,
    }
    attachments = (Attachment(log_name, "text/plain", excerpt.data()),) if log_data else ()
    date = build.finished_at or build.created_at
    subject = f"lumper: {one_line(build.project, 80)} {one_line(build.tag, 60)}{_recipe(build)} {clip(what, 120)}"
    identity = _identity(f"build-{build.id}-{build.attempt}-{build.state}", to, build.project, date, report.page)
    return Message(identity, to, subject, *_rendered_bodies(values), date, attachments)


def _rollout_message(report: RolloutReport, to: tuple[str, ...]) -> Message:
    build = report.build
    what = "runs" if report.state is RolloutState.SUCCEEDED else "did not start"
    version = one_line(report.version, 60) or one_line(report.digest[:19])
    facts = [("Service", one_line(report.service)), ("Version", version), ("Digest", one_line(report.digest))]
    facts += [(name, value) for name, value in (_facts_of_build(build) if build else []) if name in _OF_ROLLOUT]
    values = {
        "title": f"{one_line(report.service)} {version}: {what}",
        "good": report.state is RolloutState.SUCCEEDED,
        "facts": facts,
        "run": "",
        "error": _block(report.error),
        "hint": one_line(report.hint, 500),
        "quoted": "What was done",
        "lines": [clip(clean_line(line), _LINE_WIDTH) for line in report.journal],
        "page": _page(report.page),
        "log": "",
        "notice": "",
    }
    date = report.finished_at or (build and (build.finished_at or build.created_at)) or datetime.fromtimestamp(0, UTC)
    subject = f"lumper: {one_line(report.service, 80)} {version} {what}"
    identity = _identity(f"rollout-{report.rollout_id}-{report.state}", to, report.service, report.digest, date)
    return Message(identity, to, subject, *_rendered_bodies(values), date)


def _identity(name: str, *parts: object) -> str:
    digest = hashlib.sha256("\n".join(map(repr, parts)).encode("utf-8", "replace")).hexdigest()
    return f"{name}-{digest[:16]}"


def _failure(build: Build, step: str) -> str:
    if step:
        return f"failed at {one_line(step)}"
    reason = one_line(build.error.partition("\n")[0], 100)
    return f"failed: {reason}" if reason else "failed"


def _recipe(build: Build) -> str:
    """The name of one of several images, after a space."""
    return f" {one_line(build.recipe, 63)}" if build.recipe else ""


def _facts_of_build(build: Build) -> list[tuple[str, str]]:
    facts = [
        ("Build", f"{build.id}, attempt {build.attempt}" if build.attempt > 1 else str(build.id)),
        ("Project", one_line(build.project)),
        ("Tag", one_line(build.tag)),
        ("Commit", one_line(build.commit)),
        ("Author", one_line(str(build.author))),
        ("Pushed by", one_line(str(build.pusher))),
        ("Image", one_line(build.image)),
        ("Image tags", one_line(", ".join(build.tags), 600)),
        ("Also at", one_line(", ".join(build.elsewhere), 2000)),
        ("Digest", one_line(build.digest)),
        ("Size", _size(build.size)),
        ("Took", _duration(build.seconds)),
    ]
    return [(name, value) for name, value in facts if value]


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes" if size else ""


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _block(text: str) -> str:
    lines = [clean_line(line, 500) for line in text[: 8 * _ERROR_WIDTH].split("\n")]
    return clip("\n".join(lines).strip(), _ERROR_WIDTH)


def _page(url: str) -> str:
    return one_line(url, 2000) if url.startswith(("https://", "http://")) else ""


def _rendered_bodies(values: dict[str, Any]) -> tuple[str, str]:
    return (
        _templates.get_template("report.txt.j2").render(values),
        _templates.get_template("report.html.j2").render(values),
    )


class _FailedStep:
    """Remembers the name of the last step that failed, while records pass by."""

    def __init__(self) -> None:
        self.name = ""

    def watch(self, records: Iterable[Progress]) -> Iterator[Progress]:
        """The same records."""
        for record in records:
            if isinstance(record, Step) and record.state is StepState.FAILED:
                self.name = record.name
            yield record


def _records(log_data: bytes) -> Iterator[Progress]:
    at = 0.0
    for line in io.BytesIO(log_data):
        try:
            record = from_line(line)
            at = _checked(record).at
        except (ValueError, RecursionError):
            record = Output(0, 0, at, line.decode("utf-8", "replace"))  # cut off or not ours: still worth reading
        yield record


def _checked(record: Progress) -> Progress:
    texts = (record.name, record.error) if isinstance(record, Step) else (record.text,)
    good = all(isinstance(text, str) for text in texts) and isinstance(record.at, int | float)
    if not good or not 0 <= record.at < _LATEST:
        raise ValueError("a field of another type")
    return record

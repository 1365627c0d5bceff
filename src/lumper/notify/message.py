"""From the report of a build or a rollout to the message that people get. Pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lumper.model.builds.build import Build, BuildState
from lumper.model.deployment import RolloutState
from lumper.model.events import BuildReport, RolloutReport
from lumper.notify.clean import clean_line, clip, one_line
from lumper.notify.port import Attachment, Message
from lumper.notify.told_log import ToldLog

LAST_LINES = 40
_LINE_WIDTH = 300  # characters of a log line that is quoted in the mail itself
_ERROR_WIDTH = 4000
_OF_ROLLOUT = ("Build", "Project", "Tag", "Commit", "Author", "Pushed by", "Image")

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",), disabled_extensions=("txt.j2",), default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def message_for(report: BuildReport | RolloutReport, *, to: tuple[str, ...], told: ToldLog | None = None) -> Message:
    """What to tell of a build, with its log, or a rollout that ended."""
    if isinstance(report, BuildReport):
        return _build_message(report, to, told or ToldLog())
    return _rollout_message(report, to)


def _build_message(report: BuildReport, to: tuple[str, ...], told: ToldLog) -> Message:
    build = report.build
    excerpt = told.excerpt
    what = {
        BuildState.SUCCEEDED: "built",
        BuildState.FAILED: _failure(build, told.failed),
    }.get(build.state, build.state.value)
    log_name = "" if told.empty else f"build-{build.id}.log"
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
    attachments = (Attachment(log_name, "text/plain", excerpt.data()),) if log_name else ()
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

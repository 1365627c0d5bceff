"""Whichever reader of the Dockerfile there is: the image that its `# syntax=` line names, or that of the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from lumper.build.grants import is_official
from lumper.build.port import BuildRequest, NotOneByOne, Report
from lumper.errors import FrontendUnavailable
from lumper.model.builds.build import Progress

SECOND_BUILD = 2000  # steps of a build without the syntax image are numbered from here
REBUILT = 4000  # those of an image that the engine had lost
Attempt = Callable[[BuildRequest, Report], Awaitable[None]]
"""Builds. Raises as Engine.build."""


async def read_and_build(attempt: Attempt, request: BuildRequest, report: Report, say: Callable[[str], None]) -> None:
    """Build; if the parser that every engine has some version of cannot be fetched, by that of the engine.

    Where the files of the context cannot be had one by one after all, the stream is sent. `say` gets lines for the log.
    Raises as Engine.build.
    """

    report_again = numbered_from(SECOND_BUILD, report)
    try:
        await attempt(request, report)
    except NotOneByOne:
        say("All files of the context are needed: the build begins again.")
        await read_and_build(attempt, replace(request, files=None), report_again, say)
    except FrontendUnavailable as exc:
        if not is_official(request.frontend):
            raise
        say(f"{exc.message} The engine's own parser takes its place; it may not know the newest instructions.")
        await attempt(replace(request, frontend=""), report_again)


def numbered_from(first: int, report: Report) -> Report:
    """Reports the same with other numbers, so that a build that begins again has steps of its own in the log."""

    def renumbered(record: Progress) -> None:
        report(replace(record, number=record.number + first))

    return renumbered

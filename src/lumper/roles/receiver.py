"""What happens to a verified delivery: it is kept and its builds are queued, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from lumper.history.store import History
from lumper.hooks.port import Parsed, Request
from lumper.hooks.rules import Decision
from lumper.model.source import Project, Verdict
from lumper.web.hooks import Accepted

log = structlog.get_logger(__name__)

_HIDDEN = {"authorization", "cookie", "proxy-authorization", "x-gitlab-token"}


class HistoryReceiver:
    """The receiver of the webhook door, over the history."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def projects_like(self, repository: str) -> Sequence[Project]:
        """The projects that a delivery of this repository may belong to."""
        return await self._history.projects.like(repository)

    async def accept(
        self, project: Project, forge: str, request: Request, parsed: Parsed, decision: Decision
    ) -> Accepted:
        """Keep the delivery, queue a build for each push that builds, and their jobs: all or nothing."""
        history = self._history
        builds: list[int] = []
        verdict, reason = decision.verdict, decision.reason
        async with history.database.write() as connection:
            if await history.deliveries.known(connection, project.id, forge, parsed.delivery_id):
                return Accepted(Verdict.DUPLICATE, "This delivery came before.")
            for push in decision.builds:
                build_id, new = await history.builds.queue(connection, project, push)
                if new:
                    builds.append(build_id)
                else:
                    verdict, reason = Verdict.DUPLICATE, f"Build {build_id} is of the same tag and commit."
            if builds:
                verdict, reason = decision.verdict, decision.reason
            await history.deliveries.add(
                connection,
                project_id=project.id,
                forge=forge,
                delivery_id=parsed.delivery_id,
                event=parsed.event,
                headers={name: value for name, value in request.headers.items() if name not in _HIDDEN},
                body=request.body,
                verdict=verdict,
                reason=reason,
            )
        log.info("a delivery", action="hook", project=project.name, forge=forge, verdict=verdict.value, builds=builds)
        return Accepted(verdict, reason, tuple(builds))

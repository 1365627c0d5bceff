"""What happens to a verified delivery: it is kept and its builds are queued, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from lumper.errors import NotFound
from lumper.forges.port import Parsed, Request
from lumper.forges.rules import Decision
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.source import Project, Verdict
from lumper.store.connection import AsyncConnection
from lumper.web.ports import Accepted

log = get_logger(__name__)

_HIDDEN = {"authorization", "cookie", "proxy-authorization"}


class HistoryReceiver:
    """The receiver of the webhook door, over the history."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def project(self, name: str) -> tuple[Project, str] | None:
        """The project of this name with its secret, None if there is none."""
        try:
            return await self._history.projects.with_webhook_secret(name)
        except NotFound:
            return None

    async def projects_like(self, repository: str) -> Sequence[tuple[Project, str]]:
        """The projects that a delivery of this repository may belong to, with their secrets."""
        return await self._history.projects.like(repository)

    async def accept(
        self, project: Project, forge: str, request: Request, parsed: Parsed, decision: Decision
    ) -> Accepted:
        """Keep the delivery, queue a build for each push that builds, and their jobs: all or nothing."""
        deliveries = self._history.deliveries

        async def keep(connection: AsyncConnection) -> Accepted:
            body = request.body if decision.builds else b""  # what only asks whether anybody listens is alike each time
            before = await deliveries.known(connection, project.id, forge, parsed.delivery_id, body)
            if before is not None:
                accepted = Accepted(Verdict.DUPLICATE, f"This delivery came before, as delivery {before}.")
            else:
                accepted = await self._queue(connection, project, decision)
            await deliveries.add(
                connection,
                project_id=project.id,
                forge=forge,
                delivery_id=parsed.delivery_id,
                event=parsed.event,
                headers={name: value for name, value in request.headers.items() if name not in _HIDDEN},
                body=request.body,
                verdict=accepted.verdict,
                reason=accepted.reason,
            )
            return accepted

        accepted = await self._history.database.write_at_once(keep)
        _tell("hook", project, forge, accepted)
        return accepted

    async def again(self, delivery_id: int, project: Project, decision: Decision) -> Accepted:
        """Judge a delivery that is kept once more: builds that are there already stay as they are."""
        async with self._history.database.write() as connection:
            accepted = await self._queue(connection, project, decision)
            await self._history.deliveries.judged_again(connection, delivery_id, accepted.verdict, accepted.reason)
        _tell("replay", project, str(delivery_id), accepted)
        return accepted

    async def _queue(self, connection: AsyncConnection, project: Project, decision: Decision) -> Accepted:
        """Queue a build for each push that builds. If all of them are known, the delivery is a duplicate."""
        new: list[int] = []
        known: list[int] = []
        for push in decision.builds:
            build_id, is_new = await self._history.builds.queue(connection, project, push)
            (new if is_new else known).append(build_id)
        if new or not known:
            return Accepted(decision.verdict, decision.reason, tuple(new))
        words = f"Build {known[0]} is of the same commit of this ref, or of a later one"
        return Accepted(Verdict.DUPLICATE, f"{words}; `lumper restart {known[0]}` builds it again.")


def _tell(action: str, project: Project, source: str, accepted: Accepted) -> None:
    log.info(
        "a delivery",
        action=action,
        project=project.name,
        source=source,
        verdict=accepted.verdict.value,
        builds=list(accepted.builds),
    )

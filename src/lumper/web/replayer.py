"""Deliveries once more, for the API and the pages."""

from __future__ import annotations

from lumper.errors import HookMalformed, Invalid
from lumper.forges.all import Forges
from lumper.forges.port import Request
from lumper.forges.rules import decide
from lumper.line.history import History
from lumper.web.ports import Accepted, DeliveryReplay


class Replayer:
    """Delivers again what was delivered before. Its signature was good when it came, and is not asked for again."""

    def __init__(self, history: History, keeper: DeliveryReplay, forges: Forges) -> None:
        self._history = history
        self._keeper = keeper
        self._forges = forges

    async def replay(self, delivery_id: int) -> Accepted:
        """Judge it anew, and start the builds that are missing. Raises NotFound, Invalid."""
        delivery = await self._history.deliveries.get(delivery_id)
        forge = self._forges.get(delivery.forge)
        project = await self._history.projects.get(delivery.project)
        if not delivery.body:
            hint = "`lumper start` builds a tag without a delivery; [log] delivery_days says how long they are kept."
            raise Invalid(f"What came as delivery {delivery_id} is not kept any more.", hint=hint)
        try:
            parsed = forge.parse(Request(delivery.headers, delivery.body))
        except HookMalformed as exc:
            raise Invalid(exc.message, hint=exc.hint) from exc
        return await self._keeper.again(delivery_id, project, decide(parsed, project))

"""The table of verifications, inside the transactions that change builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, update

from lumper.model.builds.build import Base, BuildState
from lumper.model.builds.verification import Difference, FileDifference, Verification, Verified
from lumper.store.connection import AsyncConnection
from lumper.store.tables import verifications


def verification_from_row(row: Row[Any]) -> Verification:
    """A row of `verifications` as a value."""
    return Verification(
        build=row.build_id,
        by=row.by_id,
        digest=row.digest,
        state=Verified(row.state),
        started_at=row.started_at,
        other=row.other,
        summary=row.summary,
        differences=tuple(_difference(one) for one in row.differences),
        decided_at=row.decided_at,
    )


def _difference(told: dict[str, Any]) -> Difference:
    files = tuple(FileDifference(file["path"], tuple(file["what"])) for file in told["files"])
    return Difference(**{**told, "what": tuple(told["what"]), "files": files})


async def decide(
    connection: AsyncConnection,
    by_id: int,
    state: Verified,
    summary: str,
    differences: Sequence[Difference] = (),
    **values: object,
) -> None:
    """Write down what came of it."""
    told = [asdict(one) for one in differences]
    at = datetime.now(UTC) if state.decided else None
    values |= {"state": state.value, "summary": summary, "differences": told, "decided_at": at}
    await connection.execute(update(verifications).where(verifications.c.by_id == by_id).values(**values))


async def gave_nothing(connection: AsyncConnection, row: Row[Any]) -> None:
    """The build of this row has ended without an image to compare."""
    why = f": {row.error}" if row.error else "."
    await decide(
        connection,
        row.id,
        Verified.UNKNOWN,
        f"It could not be verified: build {row.id} {BuildState(row.state).words}{why}",
    )


async def gave_image(connection: AsyncConnection, row: Row[Any], digest: str, bases: Sequence[Base]) -> bool:
    """The build of this row has given an image; whether that has to be compared with the one that it verifies."""
    query = verifications.select().where(verifications.c.by_id == row.id)
    found = (await connection.execute(query)).first()
    if found is None:
        return False
    if found.digest == digest:
        words = "The same digest came out when it was built again."
        await decide(connection, row.id, Verified.REPRODUCIBLE, words, other=digest)
        return False
    if moved := _moved([Base(**base) for base in row.bases], bases):
        words = f"It could not be verified: {moved}"
        await decide(connection, row.id, Verified.UNKNOWN, words, other=digest)
        return False
    await decide(connection, row.id, Verified.COMPARING, "", other=digest)
    return True


def _moved(then: Sequence[Base], now: Sequence[Base]) -> str:
    """The base image that has another digest now, which the engine did not pin; ""."""
    found = {base.name.partition("@")[0]: base.digest for base in now}
    for base in then:
        if found.get(base.name, base.digest) != base.digest:
            return f"the base image {base.name} was {base.digest} then and is {found[base.name]} now."
    return ""

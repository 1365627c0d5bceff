"""What one of several servers does: nobody goes on with it whose lock is lost, and somebody always takes it up."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from lumper.roles import leader
from lumper.roles.leader import lead
from lumper.store import postgresql
from lumper.store.database import Database
from parts.line.running import running
from parts.servers.postgresql import PostgresServer
from parts.suite.eventually import eventually


class Work:
    """Who is at it at the moment, and how often somebody began."""

    def __init__(self) -> None:
        self.leaders: list[str] = []
        self.begun = 0

    async def do(self, who: str) -> None:
        self.leaders.append(who)
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.leaders.remove(who)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is lost is noticed, and another leader found, within a second."""
    monkeypatch.setattr(postgresql, "_ALIVE_SECONDS", 1.0)
    monkeypatch.setattr(leader, "_PAUSE_SECONDS", 0.05)


async def test_who_has_lost_the_lock_alone_gives_up_what_another_takes_up(
    postgres: PostgresServer, two: tuple[Database, Database]
) -> None:
    work, (one, other) = Work(), two

    async def led_by_one(begun: int) -> bool:
        return work.begun >= begun and len(work.leaders) == 1

    async with running(lead(one, "x", lambda: work.do("one"))):
        await eventually(lambda: led_by_one(1))
        async with running(lead(other, "x", lambda: work.do("other"))):
            await asyncio.to_thread(_end_locks, postgres)
            await eventually(lambda: led_by_one(2), 15)
            assert one.hears


def _end_locks(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        ended = admin.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'").fetchall()
    assert ended

"""What several processes on one PostgreSQL rely on."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, insert, select, text, update

from lumper.errors import DatabaseFailed, Invalid, StorageError, StorageFull
from lumper.model.images.activity import SERVER
from lumper.model.images.image import NewManifest
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.store import dead_connections as cutting
from lumper.store import postgresql
from lumper.store.database import Database, changed, epoch
from lumper.store.tables import repositories
from parts.registries.live_registry import OCI_INDEX, image_index
from parts.servers.postgresql import PostgresServer
from parts.servers.tcp_line import NarrowLine, opened
from parts.suite.eventually import eventually

A, B = (f"sha256:{letter * 64}" for letter in "ab")
OCI = "application/vnd.oci.image.manifest.v1+json"


async def _made(database: Database, name: str) -> int:
    async with database.write() as connection:
        row = {"name": name, "created_at": datetime.now(UTC)}
        return int((await connection.execute(insert(repositories).returning(repositories.c.id), row)).scalar_one())


async def test_processes_that_start_at_the_same_time_make_the_tables_once(postgres: PostgresServer) -> None:
    url = await asyncio.to_thread(postgres.fresh)
    databases = [Database(url) for _ in range(4)]
    try:
        await asyncio.gather(*(database.migrate() for database in databases))
        assert await _made(databases[0], "one") == 1
    finally:
        await asyncio.gather(*(database.close() for database in databases))


async def test_who_writes_waits_for_who_writes_in_another_process(two: tuple[Database, Database]) -> None:
    one, other = two
    identity = await _made(one, "n0")

    async def count_up(database: Database) -> None:
        """Read, think, write: which loses counts wherever transactions overlap."""
        async with database.write() as connection:
            name = (await connection.execute(select(repositories.c.name))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(
                update(repositories).where(repositories.c.id == identity).values(name=f"n{int(name[1:]) + 1}")
            )

    await asyncio.gather(*(count_up(database) for database in (one, other) * 10))

    async with one.read() as connection:
        assert (await connection.execute(select(repositories.c.name))).scalar_one() == "n20"


async def test_hot_writes_that_wait_for_each_other_are_repeated(two: tuple[Database, Database]) -> None:
    ids = [await _made(two[0], name) for name in ("a", "b")]
    tries: list[int] = []

    def both(connection: Connection, first: int, second: int) -> None:
        while len(tries) == 2:  # it was ended, and lets the other one have its second row, or it may be ended again
            connection.execute(select(func.pg_sleep(0.01)))
        for identity in (first, second):
            row = update(repositories).where(repositories.c.id == identity)
            connection.execute(row.values(created_at=datetime.now(UTC)))
            tries.append(identity)
            while len(tries) < 2:  # each has one of the rows before it wants the other
                connection.execute(select(func.pg_sleep(0.01)))

    a, b = ids
    await asyncio.gather(
        two[0].write_hot(lambda connection: both(connection, a, b)),
        two[1].write_hot(lambda connection: both(connection, b, a)),
    )

    assert len(tries) == 5  # one of them was at its first row twice


async def test_many_processes_make_one_repository_at_the_same_time(two: tuple[Database, Database]) -> None:
    images = [ImageHistory(database) for database in two * 4]
    await asyncio.gather(*(image.link_blob("new", digest, 1) for image in images for digest in (A, B)))
    assert await images[0].repositories_with(A) == ["new"]


async def test_a_tag_that_moves_in_one_process_is_forgotten_in_the_other(two: tuple[Database, Database]) -> None:
    writer, reader = ImageHistory(two[0]), ImageHistory(two[1])
    await writer.put_manifest("one", NewManifest(A, OCI, 1, ()), ["latest"])

    async def read() -> str:
        tag = await reader.tag("one", "latest")
        return tag.digest if tag else ""

    assert await read() == A
    await writer.put_manifest("one", NewManifest(B, OCI, 1, ()), ["latest"])

    async def seen() -> bool:
        return await read() == B

    await eventually(seen)


async def test_a_tag_that_two_processes_push_at_once_is_said_as_the_later_transaction_has_it(
    two: tuple[Database, Database],
) -> None:
    class Late(ImageHistory):
        """Has told the storage, and waits."""

        told, goes_on = asyncio.Event(), asyncio.Event()

        async def put_manifest(self, *args: Any, **options: Any) -> None:
            self.told.set()
            await self.goes_on.wait()
            await super().put_manifest(*args, **options)

    storage = MemoryStorage()
    first, second = Registry(storage, late := Late(two[0])), Registry(storage, ImageHistory(two[1]))

    async def push(registry: Registry, note: str) -> str:
        body = json.dumps({**image_index(), "annotations": {"note": note}}).encode()
        return (await registry.manifests.put("one", "v1", OCI_INDEX, body, actor=SERVER)).digest

    pushing = asyncio.create_task(push(first, "first"))
    await late.told.wait()
    before = await push(second, "second")
    late.goes_on.set()
    digest = await pushing
    assert await storage.noted("one", "v1") == before

    await second.names.tell()

    assert await storage.noted("one", "v1") == digest


async def test_a_large_change_is_told_whole(two: tuple[Database, Database]) -> None:
    keys: set[str | None] = set()
    two[1].on_change("t", keys.add)
    async with two[0].write() as connection:
        for number in range(500):
            changed(connection, "t", f"{number:050}")

    async def all_there() -> bool:
        return len(keys) == 500

    await eventually(all_there)


async def test_nothing_is_remembered_that_may_change_unheard(postgres: PostgresServer) -> None:
    url = await asyncio.to_thread(postgres.ready)
    writer, deaf = Database(url), Database(url)
    try:
        images = ImageHistory(deaf)
        await ImageHistory(writer).put_manifest("one", NewManifest(A, OCI, 1, ()), ["latest"])
        await images.tag("one", "latest")
        await ImageHistory(writer).put_manifest("one", NewManifest(B, OCI, 1, ()), ["latest"])
        tag = await images.tag("one", "latest")
        assert tag is not None
        assert tag.digest == B
    finally:
        await writer.close()
        await deaf.close()


async def test_a_name_belongs_to_one_process_and_to_nobody_when_that_ends(two: tuple[Database, Database]) -> None:
    one, other = two
    async with AsyncExitStack() as stack:
        assert await stack.enter_async_context(one.alone("x"))
        async with one.alone("x") as again, other.alone("x") as theirs, other.alone("y") as free:
            assert (again, theirs, free) == (False, False, True)
        await one.close()

        async def had() -> bool:
            async with other.alone("x") as theirs:
                return theirs

        await eventually(had)


async def test_a_name_is_nobodys_when_the_asking_for_it_was_cancelled_at_whatever_moment(
    two: tuple[Database, Database],
) -> None:
    one, other = two

    async def had(database: Database) -> bool:
        async with database.alone("x") as mine:
            return mine

    assert await had(one)  # its connection is made
    for turns in range(12):
        asking = asyncio.create_task(had(one))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: had(other))
        await eventually(lambda: had(one))


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_forgotten(postgres: PostgresServer) -> None:
    url = await asyncio.to_thread(postgres.ready)
    database = Database(url)
    heard: list[str | None] = []
    await database.listen()
    database.on_change("t", heard.append)
    try:
        await asyncio.to_thread(postgres.cut, url)

        async def again() -> bool:
            return bool(heard) and database.hears

        await eventually(again)
        assert set(heard) == {None}
        await _made(database, "one")
        async with database.alone("x") as mine:
            assert mine
    finally:
        await database.close()


async def test_where_no_database_answers_that_is_said() -> None:
    database = Database("postgresql://lumper:s3cret@127.0.0.1:9/lumper")
    try:
        with pytest.raises(DatabaseFailed, match="does not answer") as caught:
            await database.migrate()
        assert "[database] url" in caught.value.hint
        assert "s3cret" not in caught.value.sentence
    finally:
        await database.close()


async def test_its_full_disk_is_told_as_one_and_as_its_own(two: tuple[Database, Database]) -> None:
    with pytest.raises(StorageFull) as full:
        async with two[0].write() as connection:
            await connection.execute(text("DO $$ BEGIN RAISE disk_full; END $$"))
    assert "disk of PostgreSQL" in full.value.hint


async def test_the_doctor_tells_which_database_it_is(two: tuple[Database, Database]) -> None:
    assert (await two[0].about()).startswith("PostgreSQL 1")


async def test_after_a_restart_of_the_database_all_goes_on(postgres: PostgresServer) -> None:
    database = Database(await asyncio.to_thread(postgres.ready))
    await database.listen()
    try:
        await _made(database, "one")
        async with database.alone("x"):
            await asyncio.to_thread(postgres.kill)
            with pytest.raises(StorageError):
                await _made(database, "two")
            assert not database.hears
            await asyncio.to_thread(postgres.start)

        async def again() -> bool:
            return database.hears

        await eventually(again)
        await _made(database, "three")
        async with database.alone("x") as mine:
            assert mine
    finally:
        await database.close()


def test_another_database_is_refused() -> None:
    with pytest.raises(Invalid, match="no such database"):
        Database("mysql://root@db/lumper")


async def test_time_is_that_of_the_database(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()
    before = datetime.now(UTC).timestamp()
    async with database.read() as connection:
        seconds = (await connection.execute(select(epoch()))).scalar_one()
    await database.close()
    assert before - 5 < seconds < datetime.now(UTC).timestamp() + 5


async def test_whoever_waits_for_a_database_that_says_nothing_any_more_hears_of_it(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_ALIVE_SECONDS", 0.1), ("_CONNECT_SECONDS", 2)):
        monkeypatch.setattr(postgresql, name, seconds)
    url = await asyncio.to_thread(postgres.ready)

    async def reading(database: Database) -> None:
        async with database.read() as connection:
            await connection.execute(select(func.pg_backend_pid()))

    async def locking(database: Database) -> None:
        async with database.alone("x"):
            pass

    with opened(NarrowLine("127.0.0.1", postgres.port)) as line:
        database = Database(url.replace(f"127.0.0.1:{postgres.port}", line.address))
        try:
            await database.listen()
            await asyncio.gather(reading(database), locking(database))  # each has a connection afterwards
            monkeypatch.setattr(cutting, "_ANSWER_SECONDS", 0.1)
            line.hold_after(0)
            async with asyncio.timeout(60):
                ends = await asyncio.gather(reading(database), locking(database), return_exceptions=True)
            assert [type(end) for end in ends] == [DatabaseFailed] * 2
            line.let_go()

            async def again() -> bool:
                with suppress(StorageError):
                    await asyncio.gather(reading(database), locking(database))
                    return database.hears
                return False

            await eventually(again)
        finally:
            line.let_go()
            await database.close()


async def test_a_commit_that_is_not_answered_is_given_up_and_was_done_all_the_same(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(postgresql, "_COMMIT_SECONDS", 0.5)
    url = await asyncio.to_thread(postgres.ready)

    with postgres.standby_away(url):
        database = Database(url)
        try:
            await database.listen()
            with pytest.raises(DatabaseFailed, match="does not answer"):
                async with asyncio.timeout(30):
                    await _made(database, "one")
            assert database.hears  # of all others nothing was lost
        finally:
            await database.close()

    async def done() -> bool:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT name FROM repositories").fetchall() == [("one",)]

    await eventually(done)

"""A server does not start with a storage that is not the one of its database."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from parts.line.several_servers import client_of, shared_settings
from parts.processes.command_line import lumper
from parts.processes.lumper_process import LumperServer
from parts.s3.s3_service import S3Service
from parts.servers.postgresql import PostgresServer
from parts.suite.waiting import wait_for

QUIET = {"registry.gc_interval": "0"}
OTHER = "lie in another storage"


def refused(server: LumperServer) -> str:
    """What a server says that does not start."""
    with pytest.raises(AssertionError):
        server.start()
    assert not server.running
    assert "Traceback" not in server.said
    return " ".join(server.said.split())


async def pushed(server: LumperServer) -> str:
    async with client_of(server) as client:
        return await client.push_image("a/b", "x")


async def served(server: LumperServer, reference: str = "x") -> bool:
    async with client_of(server) as client:
        return await client.status("GET", f"/v2/a/b/manifests/{reference}") == 200


async def test_a_second_server_with_a_folder_of_its_own_does_not_start(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    settings = {**QUIET, "database.url": postgres.fresh()}
    first = LumperServer(tmp_path / "first", settings, role="registry")
    second = LumperServer(tmp_path / "second", settings, role="registry")
    with first:
        assert "Several servers need one S3 bucket" in refused(second)
        await pushed(first)
    assert OTHER in refused(second)
    with first:
        assert await served(first)
        first.kill()
        first.start()
        assert await served(first)
    shutil.move(tmp_path / "first", tmp_path / "moved")
    with LumperServer(tmp_path / "moved", settings, role="registry") as moved:
        assert await served(moved)


async def test_two_servers_with_different_buckets_are_not_one_registry(
    postgres: PostgresServer, s3: S3Service, tmp_path: Path
) -> None:
    url, bucket = postgres.fresh(), s3.bucket()
    first = LumperServer(tmp_path / "first", {**QUIET, **shared_settings(url, bucket)}, role="registry")
    second = LumperServer(tmp_path / "second", {**QUIET, **shared_settings(url, bucket)}, role="registry")
    strange = LumperServer(tmp_path / "third", {**QUIET, **shared_settings(url, s3.bucket())}, role="registry")
    with first, second:
        await pushed(first)
        assert await served(second)
        assert OTHER in refused(strange)


async def test_a_folder_that_is_not_mounted_stops_the_start_and_may_be_adopted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = LumperServer(data, QUIET, role="registry")
    with server:
        digest = await pushed(server)
    (data / "registry").rename(tmp_path / "disk")

    said = refused(server)

    assert OTHER in said
    assert "Is its disk mounted" in said
    assert not (data / "registry").exists()
    (tmp_path / "disk").rename(data / "registry")
    with server:
        assert await served(server)
    (data / "registry").rename(tmp_path / "lost")
    assert lumper("registry", "adopt", "--data", data).status == 0
    with server:
        assert not await served(server)
        assert await pushed(server) == digest
        assert await served(server)


async def test_an_old_folder_under_a_new_database_is_its_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = LumperServer(data, QUIET, role="registry")
    with server:
        await pushed(server)
    for file in data.glob("lumper.db*"):
        file.unlink()
    with server:
        here = ("--data", data)
        wait_for(lambda: lumper("registry", "rebuild", "--json", *here).status == 0, "what was lost")
        assert await served(server)
    with server:
        assert await served(server)


async def test_a_database_without_images_takes_another_storage(s3: S3Service, tmp_path: Path) -> None:
    server = LumperServer(tmp_path / "data", QUIET, role="registry")
    with server:
        pass
    bucket = shared_settings("", s3.bucket())
    del bucket["database.url"]
    server.settings |= bucket
    with server:
        await pushed(server)
        assert await served(server)


async def test_a_storage_that_does_not_answer_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    settings = {
        "registry.storage": "s3://images/here",
        "registry.endpoint": "http://127.0.0.1:9",
        "registry.access_key_id": "a",
        "registry.secret_access_key": "b",
    }
    with LumperServer(tmp_path / "data", {**QUIET, **settings}, role="registry") as server:
        server.wait_until_said("not known if this is the storage")

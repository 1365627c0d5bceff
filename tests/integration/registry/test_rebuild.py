"""A registry whose database is lost: everything comes back from the storage, also if that is killed in the middle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumper.errors import LumperError
from parts.processes.command_line import lumper
from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    RegistryClient,
    digest_of,
    image_index,
    image_manifest,
)
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.system

OPEN = {
    "worker.engine": "unix:///nonexistent/docker.sock",
    "deploy.engine": "unix:///nonexistent/docker.sock",
    "registry.anonymous": "push",
    "registry.gc_interval": "0",
}


def lose_database(data: Path) -> None:
    for file in data.glob("lumper.db*"):
        file.unlink()


def pulled(data: Path) -> set[str]:
    """The manifests of which it is written down when they were pulled."""
    with closing(sqlite3.connect(data / "lumper.db")) as connection:
        return {row[0] for row in connection.execute("SELECT digest FROM manifests WHERE pulled_at IS NOT NULL")}


def skopeo(*args: str) -> None:
    done = subprocess.run(["skopeo", "copy", "--preserve-digests", "--all", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def seen(client: RegistryClient, repository: str) -> dict[str, Any]:
    """What a client can pull of a repository: every tag with its manifest, every blob below, every referrer."""
    found: dict[str, Any] = {}
    async with client.request("GET", f"/v2/{repository}/tags/list") as response:
        waiting = list((await response.json())["tags"])
    found["tags"] = sorted(waiting)
    while waiting:
        reference = waiting.pop()
        async with client.request("GET", f"/v2/{repository}/manifests/{reference}") as response:
            assert response.status == 200, reference
            body, kind = await response.read(), response.headers["Content-Type"]
        found[reference] = (digest_of(body), kind)
        manifest = json.loads(body)
        waiting += [child["digest"] for child in manifest.get("manifests", ())]
        for layer in [*manifest.get("layers", ()), *filter(None, [manifest.get("config")])]:
            async with client.request("GET", f"/v2/{repository}/blobs/{layer['digest']}") as response:
                algorithm, _, encoded = layer["digest"].partition(":")
                assert hashlib.new(algorithm, await response.read()).hexdigest() == encoded
        async with client.request("GET", f"/v2/{repository}/referrers/{digest_of(body)}") as response:
            found[f"referrers of {reference}"] = await response.json()
    return found


async def push_unusual(client: RegistryClient, repository: str) -> None:
    """An index of an index of a manifest that has another kind of digest, as its layer has."""
    layer, config = b"layer", b"{}"
    digest = f"sha512:{hashlib.sha512(layer).hexdigest()}"
    path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
    assert await client.status("POST", path, data=io.BytesIO(layer)) == 201
    body = json.dumps(image_manifest((await client.push_blob(repository, config), 2), (digest, len(layer)))).encode()
    child = f"sha512:{hashlib.sha512(body).hexdigest()}"
    path, kind = f"/v2/{repository}/manifests/{child}", {"Content-Type": OCI_MANIFEST}
    assert await client.status("PUT", path, data=io.BytesIO(body), headers=kind) == 201
    inner = await client.push_manifest(repository, "inner", image_index((child, len(body))), OCI_INDEX)
    await client.push_manifest(repository, "outer", image_index((inner, 1)), OCI_INDEX)


async def test_images_of_several_platforms_and_their_signatures_come_back(tmp_path: Path) -> None:
    with LumperServer(tmp_path / "data", OPEN) as server:
        here = ("--data", server.data)
        async with aiohttp.ClientSession() as session:
            client = RegistryClient(session, server.url, (server.data / "tokens" / "operator").read_text().strip())
            children = []
            for platform in (b"amd64", b"arm64"):
                digest = await client.push_image("team/app", f"1.0-{platform.decode()}", platform * 1000)
                async with client.request("GET", f"/v2/team/app/manifests/{digest}") as response:
                    children.append((digest, len(await response.read())))
            index = await client.push_manifest("team/app", "1.0", image_index(*children), OCI_INDEX)
            config = (await client.push_blob("team/app", b"{}"), 2)
            subject = {"mediaType": OCI_INDEX, "digest": index, "size": 1}
            await client.push_manifest("team/app", "sig", image_manifest(config, subject=subject, artifactType="a/sig"))
            insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
            skopeo(*insecure, f"docker://{server.address}/team/app:1.0", f"docker://{server.address}/copy:1.0")
            assert await client.status("DELETE", "/v2/team/app/manifests/1.0-arm64") == 202
            deleted = server.data / "registry/names/team/app/_tags/1.0-arm64"
            wait_for(lambda: not deleted.exists(), "the storage to hear of the deletion")
            await push_unusual(client, "unusual")
            repositories = ("team/app", "copy", "unusual")
            before = {name: await seen(client, name) for name in repositories}
            server.end()
            assert {before["copy"]["1.0"][0], before["team/app"]["sig"][0]} <= pulled(server.data)
            lose_database(server.data)

            dry = lumper("registry", "rebuild", "--dry-run", "--json", *here)  # no server runs: the command does it all
            assert (dry.status, dry.json["dry_run"], dry.json["manifests"]) == (0, True, 10)
            server.start()
            assert await client.status("GET", "/v2/copy/manifests/1.0") == 404
            rebuilt = lumper("registry", "rebuild", *here)
            assert "10 manifests and 6 tags were brought back" in rebuilt.out, rebuilt
            assert rebuilt.status == 0

            assert {name: await seen(client, name) for name in repositories} == before
            skopeo("--src-tls-verify=false", f"docker://{server.address}/copy:1.0", f"oci:{tmp_path / 'back'}:x")
            assert lumper("registry", "verify", "--json", *here).json["flaws"] == []
            assert await client.push_image("copy", "2.0", b"new")


def image_files(registry: Path, repository: str, count: int) -> Path:
    """Write images as they lie in a storage; of each the manifest is named, and has a tag. The file of the last one."""

    def blob(data: bytes) -> tuple[str, int]:
        encoded = hashlib.sha256(data).hexdigest()
        file = registry / "blobs" / "sha256" / encoded[:2] / encoded
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return f"sha256:{encoded}", len(data)

    names = registry / "names" / repository
    for folder in (names / "_manifests", names / "_tags"):
        folder.mkdir(parents=True)
    config = blob(b"{}")
    for n in range(count):
        digest, _ = blob(json.dumps(image_manifest(config, annotations={"n": f"{repository} {n}"})).encode())
        (names / "_manifests" / digest.replace(":", "-")).write_text(OCI_MANIFEST)
        (names / "_tags" / f"v{n}").write_text(digest)
    return registry / "blobs" / "sha256" / digest[7:9] / digest[7:]


@contextmanager
def never_read(file: Path) -> Iterator[None]:
    """Whoever opens this file waits for ever. Afterwards it is as before."""
    data = file.read_bytes()
    file.unlink()
    os.mkfifo(file)
    try:
        yield
    finally:
        file.unlink()
        file.write_bytes(data)


@pytest.mark.parametrize("tagged", [0, 250])
def test_a_rebuild_that_is_killed_is_run_again(tmp_path: Path, tagged: int) -> None:
    data = tmp_path / "data"
    *_, last = [image_files(data / "registry", repository, 250) for repository in ("a", "b", "c")]
    with LumperServer(data, OPEN) as server:
        here = ("--data", data)

        def follow() -> None:
            with suppress(LumperError, OSError):
                for _ in server.client.lines("registry/rebuild", method="POST"):
                    pass

        following = threading.Thread(target=follow)
        with never_read(last):
            following.start()
            wait_for(lambda: (found := tags(server, "b")) is not None and len(found) >= tagged, "the second repository")
            server.kill()
        following.join()
        server.start()
        assert len(tags(server, "c") or ()) < 250

        rebuilt = lumper("registry", "rebuild", "--json", *here)
        assert rebuilt.status == 0
        assert 0 < rebuilt.json["manifests"] < 750
        assert rebuilt.json["names"] == 1500
        assert [len(tags(server, repository) or ()) for repository in ("a", "b", "c")] == [250] * 3
        assert lumper("registry", "verify", "--json", *here).json["flaws"] == []


def tags(server: LumperServer, repository: str) -> list[str] | None:
    """The tags of a repository; None if it is not there."""
    try:
        with urllib.request.urlopen(f"{server.url}/v2/{repository}/tags/list") as answer:
            return list(json.load(answer)["tags"])
    except urllib.error.HTTPError:
        return None


def test_metadata_from_before_names_were_told_are_told_at_the_next_start(tmp_path: Path) -> None:
    with LumperServer(tmp_path / "data", OPEN) as server:
        here = ("--data", server.data)
        image_files(server.data / "registry", "a", 20)
        assert lumper("registry", "rebuild", "--json", *here).json["tags"] == 20
        server.end()
        shutil.rmtree(server.data / "registry" / "names")
        server.start()

        told = server.data / "registry" / "names" / "a" / "_tags"
        wait_for(lambda: told.is_dir() and len(list(told.iterdir())) == 20, "the names of all tags")
        (told / "v1").unlink()
        repaired = lumper("registry", "verify", "--repair", *here)
        assert (repaired.status, (told / "v1").is_file()) == (1, True)
        assert "unnamed" in repaired.out
        assert lumper("registry", "verify", "--json", *here).json["flaws"] == []

"""The registry over a bucket: redirects, and the settings that lead there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from lumper.config.layout import DataFolder
from lumper.config.settings import load
from lumper.errors import Invalid
from lumper.model.people.people import Role
from lumper.registry.storage.s3 import S3Storage
from lumper.wiring.adapters import open_storage
from parts.registries.live_registry import live_registry
from parts.s3.s3_service import Bucket

LAYER = bytes(range(256)) * (40 << 10)  # 10 MiB: one part, and some more
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def environment(bucket: Bucket, **more: str) -> dict[str, str]:
    return {
        "LUMPER_REGISTRY_STORAGE": f"s3://{bucket.name}/images",
        "LUMPER_REGISTRY_ENDPOINT": bucket.endpoint,
        "LUMPER_REGISTRY_ACCESS_KEY_ID": bucket.access_key_id,
        "LUMPER_REGISTRY_SECRET_ACCESS_KEY": bucket.secret_access_key,
        **more,
    }


async def push(client: aiohttp.ClientSession, url: str) -> str:
    """Push the layer as docker does; the URL of the blob."""
    async with client.post(f"{url}/v2/app/blobs/uploads/") as answer:
        assert answer.status == 202
        location = url + answer.headers["Location"]
    async with client.patch(location, data=io.BytesIO(LAYER)) as answer:
        assert answer.status == 202
        location = url + answer.headers["Location"]
    async with client.put(location, params={"digest": DIGEST}) as answer:
        assert answer.status == 201
    return f"{url}/v2/app/blobs/{DIGEST}"


async def test_a_layer_is_fetched_from_the_bucket_and_asked_about_here(bucket: Bucket, tmp_path: Path) -> None:
    storage = bucket.open()
    async with live_registry(tmp_path, storage=storage) as live, aiohttp.ClientSession() as stranger:
        headers = {"Authorization": f"Bearer {live.tokens[Role.ADMIN]}"}
        async with aiohttp.ClientSession(headers=headers) as client:
            blob = await push(client, live.url)
            async with client.get(blob, allow_redirects=False) as answer:
                assert answer.status == 307
                assert answer.headers["Docker-Content-Digest"] == DIGEST
                assert answer.headers["Cache-Control"] == "no-store"
                address = answer.headers["Location"]
            async with client.head(blob, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(LAYER)))
        async with stranger.get(address) as answer:
            assert await answer.read() == LAYER
        async with stranger.get(blob, allow_redirects=False) as answer:
            assert answer.status == 401
    await storage.close()


async def test_without_redirects_a_layer_comes_from_here_whole_and_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    storage = bucket.open(redirect=False)
    async with live_registry(tmp_path, storage=storage) as live:
        headers = {"Authorization": f"Bearer {live.tokens[Role.ADMIN]}"}
        async with aiohttp.ClientSession(headers=headers) as client:
            blob = await push(client, live.url)
            async with client.get(blob, allow_redirects=False) as answer:
                assert (answer.status, await answer.read()) == (200, LAYER)
            async with client.get(blob, headers={"Range": "bytes=9000000-"}) as answer:
                assert (answer.status, await answer.read()) == (206, LAYER[9_000_000:])
    await storage.close()


async def test_the_configuration_leads_to_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    storage = open_storage(load(environment=environment(bucket)), DataFolder(tmp_path))

    assert isinstance(storage, S3Storage)
    await storage.begin("u")
    assert bucket.objects()
    await storage.close()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"LUMPER_REGISTRY_STORAGE": "ftp://images"}, "ftp:"),
        ({"LUMPER_REGISTRY_STORAGE": "s3://Not_A_Bucket"}, "names no bucket"),
        ({"LUMPER_REGISTRY_SECRET_ACCESS_KEY": ""}, "no key"),
        ({"LUMPER_REGISTRY_CA_FILE": "/nowhere/ca.pem"}, "cannot be used"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(
    bucket: Bucket, tmp_path: Path, more: dict[str, str], message: str
) -> None:
    with pytest.raises(Invalid, match=message) as refused:
        open_storage(load(environment=environment(bucket, **more)), DataFolder(tmp_path))
    assert refused.value.hint


@pytest.mark.parametrize(("name", "well"), [("", True), ("no-such-bucket", False)])
def test_the_doctor_looks_at_the_bucket(bucket: Bucket, tmp_path: Path, name: str, well: bool) -> None:
    settings = environment(bucket)
    if name:
        settings["LUMPER_REGISTRY_STORAGE"] = f"s3://{name}"
    done = subprocess.run(
        [sys.executable, "-m", "lumper", "doctor", "--registry", "--json", "--data", str(tmp_path)],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        timeout=60,
    )

    check = next(check for check in json.loads(done.stdout) if check["name"] == "images")
    assert check["well"] is well
    assert bucket.objects() == []
    assert well or "bucket" in check["hint"]
    assert done.returncode == (0 if well else 1)  # and not an abort by a thread of the client of S3


def test_the_doctor_ends_well_where_the_service_is_away(bucket: Bucket, tmp_path: Path) -> None:
    settings = {**os.environ, **environment(bucket, LUMPER_REGISTRY_ENDPOINT="http://127.0.0.1:1")}
    doctor = [sys.executable, "-m", "lumper", "doctor", "--registry", "--json", "--data", str(tmp_path)]
    # without the care for the threads of S3's client about half of them are aborted
    several = [subprocess.Popen(doctor, env=settings, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [one.wait(timeout=60) for one in several] == [1, 1, 1]

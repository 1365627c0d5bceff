"""Where an image comes from: what is signed and told beside it, and what is shown of that."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy import update

from lumper.errors import StorageError
from lumper.model.builds.build import Attested
from lumper.model.images.image import Manifest
from lumper.model.people.people import Role
from lumper.registry.attest.forms import artifact
from lumper.registry.attest.signer import make_signing_key, read_signer
from lumper.registry.attest.store import Attestations
from lumper.registry.registry import Registry
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.roles.attester import Attester
from lumper.store.tables import builds
from parts.registries.live_registry import RegistryClient
from parts.suite.clock import Clock
from parts.web.live_api import Api, live_api
from parts.web.rights import ask_as, grant, user

BASE = {"name": "docker.io/library/alpine:3.20", "digest": "sha256:" + "ab" * 32}
PROVENANCE = "https://slsa.dev/provenance/v1"


@dataclass
class Built:
    """A Lumper with one build that was accepted, and the role that tells of it."""

    api: Api
    client: RegistryClient
    attester: Attester
    digest: str
    build_id: int

    async def manifest(self, reference: str) -> dict[str, Any]:
        path = f"/v2/owner/app/manifests/{reference}"
        async with self.client.request("GET", path) as response:
            assert response.status == 200, reference
            return dict(json.loads(await response.read()))

    async def layer(self, manifest: dict[str, Any], number: int = 0) -> bytes:
        path = f"/v2/owner/app/blobs/{manifest['layers'][number]['digest']}"
        async with self.client.request("GET", path) as response:
            return bytes(await response.read())

    async def referrers(self) -> list[dict[str, Any]]:
        async with self.client.request("GET", f"/v2/owner/app/referrers/{self.digest}") as response:
            return list(json.loads(await response.read())["manifests"])

    @property
    def beside(self) -> str:
        return self.digest.replace(":", "-")


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[Built]:
    async with live_api(tmp_path) as api:
        await api.project()
        build_id = await api.build()
        client = RegistryClient(api.session, api.url, api.tokens[Role.OPERATOR])
        digest = await client.push_image("owner/app", "1.0.0")
        values: dict[str, Any] = {"state": "succeeded", "digest": digest, "commit": "c" * 40, "bases": [BASE]}
        values |= {"pusher_name": "ada", "parameters": {"dockerfile": "Dockerfile", "args": {"DEBUG": "0"}}}
        async with api.history.database.write() as connection:
            await connection.execute(update(builds).values(**values))
        key = tmp_path / "keys/signing.pem"
        make_signing_key(key)
        registry = Registry(FilesystemStorage(tmp_path / "registry"), api.history.images)
        told = Attestations(registry, partial(read_signer, key), api.links.registry)
        yield Built(api, client, Attester(api.history, registry, told, api.links), digest, build_id)
        await registry.close()


async def public_key(api: Api) -> EllipticCurvePublicKey:
    pem = (await api.ask("GET", "/registry/key")).body["public_key"]
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, EllipticCurvePublicKey)
    return key


async def opened(built: Built, envelope: bytes) -> dict[str, Any]:
    """The statement in a DSSE envelope, once its signature is verified: DSSE protocol 1.0.2."""
    sealed = json.loads(envelope)
    payload, kind = base64.b64decode(sealed["payload"]), sealed["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signature = base64.b64decode(sealed["signatures"][0]["sig"])
    (await public_key(built.api)).verify(signature, signed, ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        (await public_key(built.api)).verify(signature, payload, ECDSA(SHA256()))
    return dict(json.loads(payload))


async def test_the_image_of_an_accepted_build_is_signed_where_cosign_looks(built: Built) -> None:
    await built.attester.sign()
    manifest = await built.manifest(f"{built.beside}.sig")
    payload = await built.layer(manifest)
    signature = base64.b64decode(manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"])
    (await public_key(built.api)).verify(signature, payload, ECDSA(SHA256()))
    assert json.loads(payload)["critical"]["image"] == {"docker-manifest-digest": built.digest}
    assert manifest["subject"]["digest"] == built.digest


async def test_the_provenance_tells_commit_bases_and_recipe(built: Built) -> None:
    await built.attester.sign()
    await built.attester.describe()
    manifest = await built.manifest(f"{built.beside}.att")
    assert manifest["layers"][0]["annotations"]["predicateType"] == PROVENANCE
    told = await opened(built, await built.layer(manifest))
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["subject"][0]["digest"] == {"sha256": built.digest.partition(":")[2]}
    definition, run = told["predicate"]["buildDefinition"], told["predicate"]["runDetails"]
    commit, base = definition["resolvedDependencies"]
    assert commit["digest"] == {"gitCommit": "c" * 40}
    assert "hunter2" not in json.dumps(told)
    assert base["digest"] == {"sha256": "ab" * 32}
    assert definition["externalParameters"]["recipe"]["args"] == {"DEBUG": "0"}
    assert run["builder"]["id"] == built.api.links.public_url
    assert run["metadata"]["invocationId"].endswith(f"/builds/{built.build_id}?attempt=1")


async def test_what_was_told_is_not_told_twice(built: Built) -> None:
    for attested in ("", "", "signed", ""):
        async with built.api.history.database.write() as connection:
            await connection.execute(update(builds).values(attested=attested))
        await built.attester.sign()
        await built.attester.describe()
    build = await built.api.history.builds.get(built.build_id)
    assert build.attested is Attested.WHOLE
    types = sorted(one["artifactType"] for one in await built.referrers())
    assert types.count("application/vnd.dev.cosign.artifact.sig.v1+json") == 1
    assert [
        one["annotations"]["in-toto.io/predicate-type"]
        for one in await built.referrers()
        if "in-toto" in one["artifactType"]
    ].count(PROVENANCE) == 1


async def test_a_signature_by_another_key_does_not_stand_for_ours(built: Built, tmp_path: Path) -> None:
    make_signing_key(tmp_path / "other.pem")
    registry = Registry(FilesystemStorage(tmp_path / "registry"), built.api.history.images)
    other = Attestations(registry, partial(read_signer, tmp_path / "other.pem"), built.api.links.registry)
    subject = await built.api.history.images.manifest("owner/app", built.digest)
    assert isinstance(subject, Manifest)
    await other.sign("owner/app", subject)
    await built.client.push_manifest("owner/app", "sbom", json.loads(artifact([], "application/spdx+json", subject)))
    await built.attester.sign()
    found = (await built.api.ask("GET", f"/inspect/owner/app@{built.digest}")).body["beside"]
    assert sorted(one["ours"] for one in found if one["kind"] == "signature") == [False, True]
    assert [one["ours"] for one in found if one["kind"] == "SBOM (SPDX)"] == [False]


async def test_inspect_leads_from_the_tag_to_the_build_and_who_pushed_it(built: Built) -> None:
    await built.attester.sign()
    found = (await built.api.ask("GET", "/inspect/owner/app:1.0.0", role=Role.ADMIN)).body
    assert (found["digest"], found["tags"]) == (built.digest, ["1.0.0"])
    assert (found["build"]["id"], found["build"]["commit"]) == (built.build_id, "c" * 40)
    assert found["build"]["pusher"]["name"] == "ada"
    assert found["build"]["bases"] == [BASE]
    (platform,) = found["platforms"]
    assert platform["platform"] == "linux/amd64"
    assert platform["layers"][0]["digest"] == "sha256:" + hashlib.sha256(b"layer").hexdigest()
    assert {one["kind"] for one in found["beside"]} == {"signature", PROVENANCE}
    assert all(one["ours"] for one in found["beside"])


async def test_inspect_tells_the_repository_without_its_credentials_and_who_pushed_by_hand(built: Built) -> None:
    found = (await built.api.ask("GET", "/inspect/owner/app:1.0.0")).body
    assert (found["source"], found["pusher"]) == ("https://git.example.org/owner/app.git", None)
    await built.client.push_image("owner/app", "by-hand", b"another layer")
    found = (await built.api.ask("GET", "/inspect/owner/app:by-hand")).body
    assert found["build"] is None
    assert found["pusher"] == {"name": "operator", "role": "operator", "address": "127.0.0.1"}


async def test_who_may_only_pull_is_not_told_from_where_others_pushed(built: Built) -> None:
    await built.client.push_image("owner/app", "by-hand", b"another layer")
    await user(built.api)
    await grant(built.api, "ann", "owner/app", "pull")
    found = (await ask_as(built.api, "ann", "GET", "/inspect/owner/app:by-hand")).body
    assert found["pusher"] == {"name": "operator", "role": "operator", "address": ""}


async def test_nobody_inspects_what_they_may_not_pull(built: Built) -> None:
    refused = await built.api.ask("GET", "/inspect/owner/app:1.0.0", role=Role.USER)
    missing = await built.api.ask("GET", "/inspect/owner/none:1.0.0", role=Role.USER)
    assert refused.status == missing.status == 404
    assert refused.error.replace("app", "none") == missing.error


async def test_signatures_are_not_listed_as_versions(built: Built) -> None:
    await built.attester.sign()
    await built.attester.describe()
    shown = (await built.api.ask("GET", "/images/owner/app")).body
    assert [tag["name"] for tag in shown["tags"]] == ["1.0.0"]
    (image,) = (await built.api.ask("GET", "/images")).body
    assert image["tags"] == 1


async def test_an_image_that_is_gone_holds_up_nobody(built: Built) -> None:
    await built.api.history.images.delete_manifest("owner/app", built.digest)
    await built.attester.sign()
    await built.attester.describe()
    assert await built.api.history.origins.waiting(Attested.NOTHING) == []
    assert (await built.api.history.builds.get(built.build_id)).attested is Attested.WHOLE


async def test_what_is_in_the_image_is_told_beside_it(built: Built) -> None:
    content = b"P:musl\nV:1.2.5-r0\nA:x86_64\n"
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("lib/apk/db/installed")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    built.digest = await built.client.push_image("owner/app", "1.0.1", layer.getvalue())
    async with built.api.history.database.write() as connection:
        await connection.execute(update(builds).values(digest=built.digest))
    await built.attester.sign()
    await built.attester.describe()
    manifest = await built.manifest(f"{built.beside}.att")
    told = [await opened(built, await built.layer(manifest, number)) for number in range(2)]
    (document,) = [one["predicate"] for one in told if one["predicateType"] == "https://spdx.dev/Document"]
    locators = [one["referenceLocator"] for package in document["packages"] for one in package.get("externalRefs", ())]
    assert locators == ["pkg:apk/unknown/musl@1.2.5-r0?arch=x86_64"]

    listed = (await built.api.ask("GET", "/packages/owner/app:1.0.1", role=Role.ADMIN)).body
    assert [(one["kind"], one["name"], one["version"]) for one in listed["packages"]] == [("apk", "musl", "1.2.5-r0")]
    assert listed["document"] == document
    assert (await built.api.ask("GET", "/packages/owner/app:1.0.1?find=zlib")).body["packages"] == []
    assert (await built.api.ask("GET", "/packages/owner/app:1.0.1", role=Role.USER)).status == 404


async def test_reading_what_is_in_an_image_gives_way_to_builds_for_a_minute(built: Built) -> None:
    async def told(finished_ago: int) -> bool:
        """Whether it is told while another build runs."""
        then = datetime.now(UTC) - timedelta(seconds=finished_ago)
        mine = update(builds).where(builds.c.id == built.build_id)
        async with built.api.history.database.write() as connection:
            await connection.execute(mine.values(finished_at=then, attested=Attested.SIGNED.value))
        await built.attester.describe()
        return bool(await built.api.history.origins.waiting(Attested.WHOLE))

    await built.attester.sign()
    other = await built.api.build("v2.0.0")
    async with built.api.history.database.write() as connection:
        await connection.execute(update(builds).where(builds.c.id == other).values(state="running"))
    assert not await told(finished_ago=5)
    assert await told(finished_ago=61)
    async with built.api.history.database.write() as connection:
        await connection.execute(update(builds).where(builds.c.id == other).values(state="failed"))
    assert await told(finished_ago=5)


async def test_an_image_whose_layers_cannot_be_read_has_its_provenance_all_the_same(built: Built) -> None:
    await built.attester.sign()
    await built.attester.describe()  # its only layer is no tar file
    assert len((await built.manifest(f"{built.beside}.att"))["layers"]) == 1
    assert (await built.api.history.builds.get(built.build_id)).attested is Attested.WHOLE


class WeakStorage(FilesystemStorage):
    """Is away while a test says so."""

    away = False

    async def put(self, digest: str, data: bytes) -> None:
        """Stores it, unless it is away."""
        if self.away:
            raise StorageError("The storage is away.")
        await super().put(digest, data)


async def test_a_storage_that_is_away_for_hours_is_waited_for(built: Built, tmp_path: Path) -> None:
    clock, storage = Clock(), WeakStorage(tmp_path / "registry")
    registry = Registry(storage, built.api.history.images)
    told = Attestations(registry, partial(read_signer, tmp_path / "keys/signing.pem"), built.api.links.registry)
    attester = Attester(built.api.history, registry, told, built.api.links, clock)
    storage.away = True
    for _ in range(500):
        await attester.sign()
        clock.now += 60.0
    build = await built.api.history.builds.get(built.build_id)
    assert build.attested is Attested.NOTHING

    storage.away = False
    clock.now += 900.0
    await attester.sign()
    assert (await built.api.history.builds.get(built.build_id)).attested is Attested.SIGNED
    await registry.close()


async def test_after_a_restart_an_image_is_tried_at_once(built: Built, tmp_path: Path) -> None:
    storage = WeakStorage(tmp_path / "registry")
    registry = Registry(storage, built.api.history.images)
    told = Attestations(registry, partial(read_signer, tmp_path / "keys/signing.pem"), built.api.links.registry)
    storage.away = True
    await Attester(built.api.history, registry, told, built.api.links).sign()
    storage.away = False
    await Attester(built.api.history, registry, told, built.api.links).sign()
    assert (await built.api.history.builds.get(built.build_id)).attested is Attested.SIGNED
    await registry.close()

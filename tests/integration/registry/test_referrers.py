"""What refers to an image: signatures, SBOMs, and whatever else has a subject."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from lumper.model.people.people import Role
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_index,
    image_manifest,
)

NOWHERE = digest_of(b"nowhere")
SBOM, SIGNATURE = "application/vnd.example.sbom.v1", "application/vnd.example.signature.v1"


def subject_of(digest: str, size: int = 400) -> dict[str, object]:
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": size}


async def push_artifact(client: RegistryClient, subject: str, kind: str, **annotations: str) -> str:
    config = await client.push_blob("a", b"{}")
    manifest = image_manifest((config, 2), subject=subject_of(subject), artifactType=kind, annotations=annotations)
    return await client.push_manifest("a", digest_of(json.dumps(manifest).encode()), manifest)


async def index_of(client: RegistryClient, path: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    async with client.request("GET", path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == OCI_INDEX
        index = json.loads(await response.read())
        assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
        return index["manifests"], dict(response.headers)


async def test_what_refers_to_an_image_is_listed_with_type_and_annotations(admin: RegistryClient) -> None:
    image = await admin.push_image("a", "1.0")
    sbom = await push_artifact(admin, image, SBOM, format="json")

    listed, headers = await index_of(admin, f"/v2/a/referrers/{image}")

    async with admin.request("HEAD", f"/v2/a/manifests/{sbom}") as response:
        size = int(response.headers["Content-Length"])
    assert listed == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": sbom,
            "size": size,
            "artifactType": SBOM,
            "annotations": {"format": "json"},
        }
    ]
    assert "OCI-Filters-Applied" not in headers


async def test_a_push_with_a_subject_is_told_that_it_counts(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    for manifest, media_type in (
        (image_manifest((config, 2), subject=subject_of(NOWHERE)), OCI_MANIFEST),
        ({**image_index(), "subject": subject_of(NOWHERE)}, OCI_INDEX),
    ):
        body, headers = json.dumps(manifest), {"Content-Type": media_type}
        async with admin.request("PUT", "/v2/a/manifests/x", data=body, headers=headers) as response:
            assert response.status == 201
            assert response.headers["OCI-Subject"] == NOWHERE
    async with admin.request("PUT", "/v2/a/manifests/y", data=json.dumps(image_index())) as response:
        assert "OCI-Subject" not in response.headers


async def test_the_type_is_that_of_the_config_where_none_is_said_and_an_index_has_none(admin: RegistryClient) -> None:
    config = await admin.push_blob("a", b"{}")
    plain = await admin.push_manifest("a", "x", image_manifest((config, 2), subject=subject_of(NOWHERE)))
    index = await admin.push_manifest("a", "y", {**image_index(), "subject": subject_of(NOWHERE)}, OCI_INDEX)

    listed, _ = await index_of(admin, f"/v2/a/referrers/{NOWHERE}")

    types = {one["digest"]: one.get("artifactType") for one in listed}
    assert types == {plain: "application/vnd.oci.image.config.v1+json", index: None}


async def test_referrers_are_filtered_by_type(admin: RegistryClient) -> None:
    image = await admin.push_image("a", "1.0")
    sbom, signature = [await push_artifact(admin, image, kind) for kind in (SBOM, SIGNATURE)]

    for asked, expected in ((SBOM, [sbom]), (SIGNATURE, [signature]), ("other", [])):
        listed, headers = await index_of(admin, f"/v2/a/referrers/{image}?artifactType={asked}")
        assert [one["digest"] for one in listed] == expected
        assert headers["OCI-Filters-Applied"] == "artifactType"
    listed, headers = await index_of(admin, f"/v2/a/referrers/{image}?artifactType=")
    assert len(listed) == 2
    assert "OCI-Filters-Applied" not in headers


async def test_nothing_refers_to_what_is_not_there_and_that_is_no_error(admin: RegistryClient) -> None:
    await admin.push_image("a", "1.0")

    assert (await index_of(admin, f"/v2/a/referrers/{NOWHERE}"))[0] == []
    assert (await index_of(admin, f"/v2/unknown/referrers/sha512:{'0' * 128}"))[0] == []
    assert await admin.refusal("GET", "/v2/a/referrers/sha256:x") == (400, "DIGEST_INVALID")
    assert await admin.refusal("GET", "/v2/a/referrers/latest") == (400, "DIGEST_INVALID")


async def test_a_deleted_referrer_leaves_the_list(admin: RegistryClient) -> None:
    image = await admin.push_image("a", "1.0")
    sbom, signature = [await push_artifact(admin, image, kind) for kind in (SBOM, SIGNATURE)]

    assert await admin.status("DELETE", f"/v2/a/manifests/{sbom}") == 202

    listed, _ = await index_of(admin, f"/v2/a/referrers/{image}")
    assert [one["digest"] for one in listed] == [signature]


async def test_referrers_come_in_pages_that_links_lead_through(admin: RegistryClient) -> None:
    image = await admin.push_image("a", "1.0")
    pushed = [await push_artifact(admin, image, SBOM, number=str(number)) for number in range(5)]
    await push_artifact(admin, image, SIGNATURE)

    path, seen, pages = f"/v2/a/referrers/{image}?artifactType={SBOM}&n=2", [], 0
    while path:
        listed, headers = await index_of(admin, path)
        assert headers["OCI-Filters-Applied"] == "artifactType"
        seen += [one["digest"] for one in listed]
        pages += 1
        link = headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
        assert link == "" or link.endswith('; rel="next"')

    assert seen == sorted(pushed)
    assert pages == 3
    for query, count in (("n=0", 0), (f"artifactType={SBOM}&n=5", 5)):
        listed, headers = await index_of(admin, f"/v2/a/referrers/{image}?{query}")
        assert (len(listed), "Link" in headers) == (count, False)


async def test_a_list_of_large_annotations_is_cut_into_pages_of_some_megabytes(admin: RegistryClient) -> None:
    image = await admin.push_image("a", "1.0")
    pushed = [await push_artifact(admin, image, SBOM, number=str(n), text="x" * 1_500_000) for n in range(4)]

    listed, headers = await index_of(admin, f"/v2/a/referrers/{image}")
    assert [one["digest"] for one in listed] == sorted(pushed)[:2]
    rest, headers = await index_of(admin, headers["Link"].partition("<")[2].partition(">")[0])
    assert [one["digest"] for one in rest] == sorted(pushed)[2:]
    assert "Link" not in headers


async def test_the_tag_that_older_clients_keep_their_list_under_is_a_tag_like_others(admin: RegistryClient) -> None:
    image = await admin.push_image("a", "1.0")
    sbom = await push_artifact(admin, image, SBOM)
    fallback = image.replace(":", "-")
    index = image_index((sbom, 100))

    await admin.push_manifest("a", fallback, index, OCI_INDEX)

    async with admin.request("GET", f"/v2/a/manifests/{fallback}") as response:
        assert json.loads(await response.read()) == index
    async with admin.request("GET", "/v2/a/tags/list") as response:
        assert (await response.json())["tags"] == ["1.0", fallback]
    assert len((await index_of(admin, f"/v2/a/referrers/{image}"))[0]) == 1
    assert await admin.status("DELETE", f"/v2/a/manifests/{fallback}") == 202


async def test_who_may_not_pull_sees_no_referrers(live: LiveRegistry) -> None:
    async with aiohttp.ClientSession() as session:
        mailer = RegistryClient(session, live.url, live.tokens[Role.MAILER])
        assert await mailer.refusal("GET", f"/v2/a/referrers/{NOWHERE}") == (403, "DENIED")
        anyone = RegistryClient(session, live.url)
        assert await anyone.refusal("GET", f"/v2/a/referrers/{NOWHERE}") == (401, "UNAUTHORIZED")

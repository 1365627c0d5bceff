"""What lies beside an image, whoever has put it there."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lumper.errors import ArchiveError
from lumper.model.images.image import IN_TOTO, PREDICATE, SIGNATURE_TYPE, Manifest, Referrer
from lumper.registry.attest import store
from lumper.registry.attest.provenance import PROVENANCE
from lumper.registry.attest.signer import make_signing_key, read_signer
from lumper.registry.attest.store import Attestations
from lumper.registry.contents.spdx import SPDX
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from parts.registries.page_images import MANIFEST, Put

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
ABSENT = {"mediaType": FOREIGN, "digest": "sha256:" + "0" * 64, "size": 9}


class OneByOne(MemoryMetadata):
    """Has pages of one referrer."""

    async def referrers(self, *args: Any, **options: Any) -> tuple[list[Referrer], bool]:
        return await super().referrers(*args, **{**options, "limit": 1})


class Signing:
    """A registry in memory with one repository, owner/app, and who tells of its images."""

    def __init__(self, folder: Path, metadata: MemoryMetadata | None = None) -> None:
        make_signing_key(folder / "key.pem")
        storage = MemoryStorage()
        self.registry = Registry(storage, metadata or MemoryMetadata())
        self.put = Put(self.registry, storage, "owner/app")
        self.told = Attestations(self.registry, partial(read_signer, folder / "key.pem"), "registry.test")

    async def image(self, layer: bytes = b"layer") -> Manifest:
        found = await self.registry.metadata.manifest("owner/app", await self.put.image(layer=layer))
        assert found is not None
        return found

    async def refers(self, subject: Manifest, artifact_type: str, layer: Mapping[str, Any], **more: Any) -> str:
        """Something with this layer that says that it is about the image."""
        empty = await self.put.blob(b"{}", "application/vnd.oci.empty.v1+json")
        about = {"mediaType": MANIFEST, "digest": subject.digest, "size": subject.size}
        told = {"artifactType": artifact_type, "subject": about, "config": empty, "layers": [layer], **more}
        return await self.put.manifest(told)

    async def kinds(self, image: Manifest) -> list[tuple[str, bool]]:
        return sorted((one.kind, one.ours) for one in await self.told.beside("owner/app", image))

    async def gathered(self, image: Manifest) -> list[dict[str, Any]]:
        """What lies under the tag for cosign."""
        tag = await self.registry.metadata.tag("owner/app", f"{image.digest.replace(':', '-')}.att")
        found = tag and await self.registry.metadata.manifest("owner/app", tag.digest)
        return list(json.loads(await self.registry.manifests.content(found))["layers"]) if found else []


@pytest.mark.parametrize(
    "layer",
    [ABSENT, {"annotations": 5}, {"annotations": ["dev.cosignproject.cosign/signature"]}, {"annotations": None}],
    ids=["a layer that lies elsewhere", "a number", "a list", "nothing"],
)
async def test_a_signature_that_is_none_keeps_nobody_from_signing(tmp_path: Path, layer: dict[str, Any]) -> None:
    signing = Signing(tmp_path)
    image = await signing.image()
    empty = await signing.put.blob(b"{}", "application/vnd.oci.empty.v1+json")
    await signing.refers(image, SIGNATURE_TYPE, {**empty, **layer})

    assert await signing.kinds(image) == [("signature", False)]
    await signing.told.sign("owner/app", image)

    assert await signing.kinds(image) == [("signature", False), ("signature", True)]


async def test_what_was_told_here_is_found_behind_all_that_others_tell(tmp_path: Path) -> None:
    signing = Signing(tmp_path, OneByOne())
    image = await signing.image()
    await signing.told.sign("owner/app", image)
    await signing.told.attest("owner/app", image, SPDX, {"name": "app"})
    last = max([one.digest for one in await signing.told.beside("owner/app", image)])
    for kind in (IN_TOTO, SIGNATURE_TYPE, "application/spdx+json"):
        days = count()
        while await signing.put.referrer(image.digest, kind, {PREDICATE: SPDX, "day": str(next(days))}) > last:
            pass
        await signing.put.referrer(image.digest, kind, {PREDICATE: SPDX, "day": "last"})

    found = await signing.told.told("owner/app", image.digest, SPDX)
    await signing.told.sign("owner/app", image)
    await signing.told.gather("owner/app", image)

    assert found is not None
    assert found["predicate"] == {"name": "app"}
    kinds = Counter(await signing.kinds(image))
    assert (kinds[SPDX, True], kinds["signature", True]) == (1, 1)
    assert all(kinds[one, False] > 1 for one in (SPDX, "signature", "SBOM (SPDX)"))
    assert len(await signing.gathered(image)) == 1


async def test_what_was_told_of_one_image_says_nothing_of_another_one_that_it_is_laid_beside(tmp_path: Path) -> None:
    signing = Signing(tmp_path)
    image, other = await signing.image(), await signing.image(b"pushed by hand")
    await signing.told.sign("owner/app", image)
    await signing.told.attest("owner/app", image, PROVENANCE, {"from": "a build"})
    for one in (await signing.registry.metadata.referrers("owner/app", image.digest))[0]:
        manifest = await signing.registry.metadata.manifest("owner/app", one.digest)
        assert manifest is not None
        (layer,) = json.loads(await signing.registry.manifests.content(manifest))["layers"]
        await signing.refers(other, one.artifact_type, layer, annotations=dict(one.annotations))

    assert await signing.kinds(image) == [(PROVENANCE, True), ("signature", True)]
    assert await signing.kinds(other) == [(PROVENANCE, False), ("signature", False)]
    assert await signing.told.told("owner/app", other.digest, PROVENANCE) is None
    await signing.told.gather("owner/app", other)
    assert await signing.gathered(other) == []

    await signing.told.attest("owner/app", other, PROVENANCE, {"from": "another build"})
    found = await signing.told.told("owner/app", other.digest, PROVENANCE)
    assert found is not None
    assert found["predicate"] == {"from": "another build"}


async def test_a_statement_of_one_kind_is_none_of_another_that_it_is_called(tmp_path: Path) -> None:
    signing = Signing(tmp_path)
    image = await signing.image()
    await signing.told.attest("owner/app", image, PROVENANCE, {"from": "a build"})
    ((one,), _) = await signing.registry.metadata.referrers("owner/app", image.digest)
    manifest = await signing.registry.metadata.manifest("owner/app", one.digest)
    assert manifest is not None
    (layer,) = json.loads(await signing.registry.manifests.content(manifest))["layers"]
    strange = {**layer, "mediaType": "text/plain", "annotations": {"predicateType": SPDX}}
    await signing.refers(image, IN_TOTO, strange, annotations={PREDICATE: SPDX})

    assert await signing.kinds(image) == [(PROVENANCE, True), (SPDX, False)]
    assert await signing.told.told("owner/app", image.digest, SPDX) is None
    await signing.told.gather("owner/app", image)
    assert await signing.gathered(image) == [layer]


@pytest.mark.parametrize("kind", [IN_TOTO, SIGNATURE_TYPE])
@pytest.mark.parametrize("begin", [b"", b'{"payload":"'], ids=["a list", "nearly an envelope"])
async def test_of_what_others_tell_nothing_becomes_objects(tmp_path: Path, kind: str, begin: bytes) -> None:
    signing = Signing(tmp_path)
    image = await signing.image()
    bomb = begin + b"[" + b"[]," * (1 << 20) + b"[]]"
    signed = {"dev.cosignproject.cosign/signature": "AAAA"}
    layer = {**await signing.put.blob(bomb, "application/json"), "annotations": signed}
    for number in range(3):
        await signing.refers(image, kind, layer, annotations={PREDICATE: SPDX, "number": str(number)})
    await signing.kinds(image)  # the key is read

    tracemalloc.start()
    kinds, found = await signing.kinds(image), await signing.told.told("owner/app", image.digest, SPDX)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert ([ours for _, ours in kinds], found) == ([False] * 3, None)
    assert most < 4 * len(bomb)


async def test_what_is_too_large_to_be_found_again_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_BYTES", 1000)
    signing = Signing(tmp_path)
    image = await signing.image()
    with pytest.raises(ArchiveError, match="more than"):
        await signing.told.attest("owner/app", image, SPDX, {"name": "x" * 1000})
    assert await signing.kinds(image) == []

"""What lies beside an image, whoever has put it there."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lumper.model.image import IN_TOTO, PREDICATE, SIGNATURE_TYPE, Referrer
from lumper.registry.attest.signer import make_signing_key, read_signer
from lumper.registry.attest.store import Attestations
from lumper.registry.contents.spdx import SPDX
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from parts.page_images import MANIFEST, Put

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
ABSENT = {"mediaType": FOREIGN, "digest": "sha256:" + "0" * 64, "size": 9}


@pytest.mark.parametrize(
    "layer",
    [ABSENT, {"annotations": 5}, {"annotations": ["dev.cosignproject.cosign/signature"]}, {"annotations": None}],
    ids=["a layer that lies elsewhere", "a number", "a list", "nothing"],
)
async def test_a_signature_that_is_none_keeps_nobody_from_signing(tmp_path: Path, layer: dict[str, Any]) -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata())
    put = Put(registry, storage, "owner/app")
    make_signing_key(tmp_path / "key.pem")
    told = Attestations(registry, partial(read_signer, tmp_path / "key.pem"), "registry.test")
    digest = await put.image("1.0")
    empty = await put.blob(b"{}", "application/vnd.oci.empty.v1+json")
    about = {"mediaType": MANIFEST, "digest": digest, "size": 100}
    forged = {"artifactType": SIGNATURE_TYPE, "subject": about, "config": empty, "layers": [{**empty, **layer}]}
    await put.manifest(forged)
    image = await registry.metadata.manifest("owner/app", digest)
    assert image is not None

    assert [one.ours for one in await told.beside("owner/app", image)] == [False]
    await told.sign("owner/app", image)

    assert sorted(one.ours for one in await told.beside("owner/app", image)) == [False, True]


async def test_what_was_told_here_is_found_behind_all_that_others_tell(tmp_path: Path) -> None:
    class OneByOne(MemoryMetadata):
        """Has pages of one referrer."""

        async def referrers(self, *args: Any, **options: Any) -> tuple[list[Referrer], bool]:
            return await super().referrers(*args, **options, limit=1)

    storage = MemoryStorage()
    registry = Registry(storage, OneByOne())
    put = Put(registry, storage, "owner/app")
    make_signing_key(tmp_path / "key.pem")
    told = Attestations(registry, partial(read_signer, tmp_path / "key.pem"), "registry.test")
    image = await registry.metadata.manifest("owner/app", await put.image("1.0"))
    assert image is not None
    await told.attest("owner/app", image, SPDX, {"name": "app"})
    (ours,) = await told.beside("owner/app", image)
    days = count()
    while await put.referrer(image.digest, IN_TOTO, {PREDICATE: "scan", "day": str(next(days))}) > ours.digest:
        pass

    found = await told.told("owner/app", image.digest, SPDX)

    assert found is not None
    assert found["predicate"] == {"name": "app"}

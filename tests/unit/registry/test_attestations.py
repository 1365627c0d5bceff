"""What lies beside an image, whoever has put it there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lumper.model.image import SIGNATURE_TYPE
from lumper.registry.attest.signer import make_signing_key, read_signer
from lumper.registry.attest.store import Attestations
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

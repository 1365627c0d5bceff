"""The registry of a Lumper, seen by a client and on its disk; digests are computed here anew."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class RegistryReader:
    """Reads one repository at `url` with an API token."""

    url: str
    token: str
    repository: str

    def digest(self, tag: str) -> str:
        """The digest of what a tag points at, "" if there is no such tag."""
        found = self._get(f"manifests/{tag}")
        return f"sha256:{hashlib.sha256(found).hexdigest()}" if found is not None else ""

    def manifest(self, reference: str) -> dict[str, Any]:
        """A manifest."""
        found = self._get(f"manifests/{reference}")
        assert found is not None, reference
        manifest: dict[str, Any] = json.loads(found)
        return manifest

    def config(self, reference: str) -> dict[str, Any]:
        """The image's configuration."""
        config: dict[str, Any] = json.loads(self.blob(self.manifest(reference)["config"]["digest"]))
        return config

    def blob(self, digest: str) -> bytes:
        """A blob, which must have that digest."""
        found = self._get(f"blobs/{digest}")
        assert found is not None, digest
        assert f"sha256:{hashlib.sha256(found).hexdigest()}" == digest
        return found

    def pull(self, reference: str) -> None:
        """Read all of an image."""
        manifest = self.manifest(reference)
        for link in (manifest["config"], *manifest["layers"]):
            assert len(self.blob(link["digest"])) == link["size"]

    def _get(self, path: str) -> bytes | None:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": _MANIFESTS}
        request = urllib.request.Request(f"{self.url}/v2/{self.repository}/{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code == 404:
                    return None
                raise


def wrong_blobs(data: Path) -> list[Path]:
    """The blobs in a data folder whose bytes do not have the digest that their name says."""
    files = [path for path in (data / "registry" / "blobs").rglob("*") if path.is_file()]
    return [path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]

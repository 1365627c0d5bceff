"""The list of what is in an image, as SPDX 2.3 in JSON. Pure.

Source: SPDX specification 2.3, clauses 6, 7, 11 and annex F; its JSON schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

from lumper.registry.contents.packages import Package

SPDX = "https://spdx.dev/Document"
_IMAGE = "SPDXRef-Image"


def spdx(
    name: str,
    digest: str,
    space: str,
    made_at: datetime,
    packages: Sequence[Package],
    distribution: Mapping[str, str],
    unread: Sequence[str] = (),
) -> dict[str, Any]:
    """The document about the image `name` with this digest. `space` is a URL of ours that names it alone."""
    listed = {_id(package): _package(package, distribution) for package in packages}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": space,
        "creationInfo": {
            "created": made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: lumper-{version('lumper')}"],
            **({"comment": f"Not read: {', '.join(unread)}"} if unread else {}),
        },
        "packages": [_image(name, digest), *listed.values()],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE),
            *(_relation(_IMAGE, "CONTAINS", one) for one in listed),
        ],
    }


def _image(name: str, digest: str) -> dict[str, Any]:
    algorithm, _, value = digest.partition(":")
    return {
        "SPDXID": _IMAGE,
        "name": name,
        "versionInfo": digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": algorithm.upper(), "checksumValue": value}],
        "primaryPackagePurpose": "CONTAINER",
    }


def _package(package: Package, distribution: Mapping[str, str]) -> dict[str, Any]:
    url = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": package.url(distribution),
    }
    return {
        "SPDXID": _id(package),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "sourceInfo": f"found in /{package.source}",
        "externalRefs": [url],
    }


def _id(package: Package) -> str:
    """The same for the same package: letters, digits, dots and dashes only."""
    told = "\0".join((package.kind, package.name, package.version, package.architecture, package.source))
    return f"SPDXRef-{package.kind}-{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:20]}"


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def listed(document: Mapping[str, Any]) -> list[Package]:
    """The packages in a document of ours, by name.

    >>> one = Package("npm", "@a/b", "1.0", source="app/node_modules/@a/b/package.json")
    >>> listed(spdx("x", "sha256:ab", "http://x", datetime.now(UTC), [one], {})) == [one]
    True
    """
    found = (_read(told) for told in document.get("packages") or ())
    return sorted((one for one in found if one is not None), key=lambda one: (one.name.lower(), one))


def _read(told: Mapping[str, Any]) -> Package | None:
    locators = [str(one.get("referenceLocator")) for one in told.get("externalRefs") or ()]
    if not locators:
        return None
    kind, _, rest = locators[0].removeprefix("pkg:").partition("/")
    qualifiers = dict(one.partition("=")[::2] for one in rest.partition("?")[2].split("&"))
    source = str(told.get("sourceInfo", "")).removeprefix("found in /")
    return Package(kind, str(told["name"]), str(told["versionInfo"]), unquote(qualifiers.get("arch", "")), source)

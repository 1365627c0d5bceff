"""What artifacts and what refers to an image are called by people, by their media types and annotations. Pure.

Sources: cosign's SIGNATURE_SPEC, BUNDLE_SPEC and the tags of its older form; Notary's signature-specification;
Helm's HIP-0006; in-toto's list of predicates; BuildKit's docs/attestations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lumper.model.images.image import IN_TOTO, PREDICATE

_ATTESTATION = "attestation"
_SIGNED = "signature (cosign)"
_SPDX, _CYCLONE = "SBOM (SPDX)", "SBOM (CycloneDX)"
HELM = "application/vnd.cncf.helm.config.v1+json"
_KINDS = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": _SIGNED,
    "application/vnd.dev.cosign.simplesigning.v1+json": _SIGNED,
    "application/vnd.dev.cosign.artifact.att.v1+json": _ATTESTATION,
    "application/vnd.dev.cosign.artifact.sbom.v1+json": "SBOM",
    "application/vnd.cncf.notary.signature": "signature (Notation)",
    "application/spdx+json": _SPDX,
    "text/spdx": _SPDX,
    "text/spdx+json": _SPDX,
    "application/vnd.cyclonedx": _CYCLONE,
    "application/vnd.cyclonedx+json": _CYCLONE,
    "application/vnd.cyclonedx+xml": _CYCLONE,
    "application/vnd.syft+json": "SBOM (Syft)",
    "application/sarif+json": "report of a scan (SARIF)",
    IN_TOTO: _ATTESTATION,
    HELM: "Helm chart",
    "application/vnd.buildkit.cacheconfig.v0": "build cache",
    "application/vnd.docker.plugin.v1+json": "Docker plugin",
    "application/vnd.wasm.config.v0+json": "WebAssembly",
}
_BUNDLE = "application/vnd.dev.sigstore.bundle"
_BUNDLE_PREDICATE = "dev.sigstore.bundle.predicateType"
_BUNDLE_CONTENT = "dev.sigstore.bundle.content"
_PREDICATES = {
    "https://sigstore.dev/cosign/sign/": _SIGNED,
    "https://spdx.dev/Document": _SPDX,
    "https://cyclonedx.org/bom": _CYCLONE,
    "https://slsa.dev/provenance/": "provenance",
    "https://cosign.sigstore.dev/attestation/vuln/": "report of a scan",
    "https://in-toto.io/attestation/vulns": "report of a scan",
}
_TAGS = {".sig": _SIGNED, ".att": _ATTESTATION, ".sbom": "SBOM"}


def in_words(media_type: str, annotations: Mapping[str, str] | None = None) -> str:
    """A kind of artifact in words; "" for one that is not known.

    >>> in_words("application/spdx+json"), in_words("application/vnd.example")
    ('SBOM (SPDX)', '')
    """
    told = annotations or {}
    if media_type.startswith(_BUNDLE):
        signed = told.get(_BUNDLE_CONTENT) == "message-signature"
        return _SIGNED if signed else _of_predicate(told.get(_BUNDLE_PREDICATE, "")) or "signed statement (Sigstore)"
    known = _KINDS.get(media_type, "")
    return (_of_predicate(told.get(PREDICATE, "")) or known) if known == _ATTESTATION else known


def of_tag(tag: str) -> str:
    """What a tag such as `sha256-….sig` holds; "" if its name does not tell.

    >>> of_tag("sha256-ab.sig"), of_tag("sha256-ab")
    ('signature (cosign)', '')
    """
    return next((kind for end, kind in _TAGS.items() if tag.endswith(end)), "")


def short(kinds: Iterable[str]) -> list[str]:
    """Each kind once, without who makes it so; those that are not known are left out.

    >>> short(["SBOM (SPDX)", "signature (cosign)", "", "signature (Notation)"])
    ['SBOM', 'signature']
    """
    return sorted({kind.partition(" (")[0] for kind in kinds if kind}, key=str.lower)


def _of_predicate(predicate: str) -> str:
    return next((kind for begin, kind in _PREDICATES.items() if predicate.startswith(begin)), "")

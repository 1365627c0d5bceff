from __future__ import annotations

import pytest

from lumper.registry.inspect.artifact_types import in_words, of_tag

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.mark.parametrize(
    ("media_type", "annotations", "kind"),
    [
        (BUNDLE, {"dev.sigstore.bundle.content": "message-signature"}, "signature (cosign)"),
        (
            BUNDLE,
            {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
            },
            "signature (cosign)",
        ),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}, "provenance"),
        (BUNDLE, {}, "signed statement (Sigstore)"),
        ("application/vnd.in-toto+json", {}, "attestation"),
        ("application/vnd.in-toto+json", {"in-toto.io/predicate-type": "https://spdx.dev/Document"}, "SBOM (SPDX)"),
        ("application/vnd.in-toto+json", {"in-toto.io/predicate-type": "https://example.org/x"}, "attestation"),
        ("application/spdx+json", {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}, "SBOM (SPDX)"),
        ("application/vnd.cncf.notary.signature", {}, "signature (Notation)"),
        ("", {}, ""),
    ],
)
def test_kinds_are_told_by_type_and_predicate(media_type: str, annotations: dict[str, str], kind: str) -> None:
    assert in_words(media_type, annotations) == kind


def test_tags_beside_an_image_tell_their_kind() -> None:
    assert [of_tag(f"sha256-ab{end}") for end in (".sig", ".att", ".sbom", "")] == [
        "signature (cosign)",
        "attestation",
        "SBOM",
        "",
    ]

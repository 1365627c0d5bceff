"""The forms in which signatures and attestations lie beside an image. Pure.

Sources: cosign's SIGNATURE_SPEC and ATTESTATION_SPEC ("simple signing", tags `sha256-….sig` and `.att`), the DSSE
protocol 1.0.2, in-toto Statement v1, OCI image-spec 1.1 "Guidelines for Artifact Usage".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lumper.model.images.image import IN_TOTO, PREDICATE, Manifest, digest_of
from lumper.registry.attest.port import Signer
from lumper.registry.manifest_format import OCI_MANIFEST

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
STATEMENT = "https://in-toto.io/Statement/v1"
EMPTY_CONFIG = b"{}"

_SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_SIGNED = "dev.cosignproject.cosign/signature"
_HEAD = b'{"payload":"'  # of an envelope, which ends as `envelope` lets it end
_TAIL = re.compile(
    rb'","payloadType":"%s","signatures":\[\{"keyid":"([a-z0-9:]+)","sig":"([A-Za-z0-9+/=]+)"\}\]\}'
    % re.escape(IN_TOTO.encode())
)
_MOST_TAIL = 1000  # bytes


@dataclass(frozen=True)
class Blob:
    """What a manifest refers to: its bytes, and how it is described there."""

    media_type: str
    content: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the bytes."""
        return digest_of(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """OCI image-spec 1.1, descriptor.md."""
        told = {"annotations": dict(self.annotations)} if self.annotations else {}
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content), **told}


def signature(place: str, digest: str, signer: Signer) -> Blob:
    """The signature of the image `digest` in `place`, HOST/REPOSITORY."""
    payload = compact(
        {
            "critical": {
                "identity": {"docker-reference": place},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    return Blob(_SIMPLE_SIGNING, payload, {_SIGNED: base64.b64encode(signer.sign(payload)).decode()})


def signs(blob: Blob, digest: str, signer: Signer) -> bool:
    """Whether this is a signature of the image `digest` by `signer`."""
    try:
        signed = base64.b64decode(blob.annotations.get(_SIGNED, ""), validate=True)
    except (ValueError, TypeError):
        return False
    if not signer.verify(blob.content, signed):  # before it is read: what is ours is small and sound
        return False
    return bool(json.loads(blob.content)["critical"]["image"]["docker-manifest-digest"] == digest)


def statement(name: str, digest: str, predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Something that is told of an image."""
    algorithm, _, value = digest.partition(":")
    subject = {"name": name, "digest": {algorithm: value}}
    return {"_type": STATEMENT, "subject": [subject], "predicateType": predicate_type, "predicate": predicate}


def envelope(told: Mapping[str, Any], signer: Signer) -> Blob:
    """A statement, signed."""
    payload = compact(told)
    signed = {"keyid": signer.id, "sig": base64.b64encode(signer.sign(pre_authentication(payload))).decode()}
    content = {"payloadType": IN_TOTO, "payload": base64.b64encode(payload).decode(), "signatures": [signed]}
    return sealed(compact(content), str(told["predicateType"]))


def sealed(content: bytes, predicate_type: str) -> Blob:
    """An envelope with a statement of this type as a layer, in the way that cosign finds it."""
    # cosign lists only attestations whose layer has the first annotation, and looks for predicates by the second
    told = {_SIGNED: "", "predicateType": predicate_type, PREDICATE: predicate_type}
    return Blob(ENVELOPE, content, told)


def pre_authentication(payload: bytes) -> bytes:
    """What is signed of a statement: DSSE protocol, "Signature Definition"."""
    return b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload)


def opened(content: bytes, signer: Signer) -> dict[str, Any] | None:
    """The statement in an envelope that `signer` has made; None for all else, of which nothing is read.

    A document from anyone may become objects of twenty times its size.
    """
    end = content.find(b'"', len(_HEAD))
    tail = _TAIL.fullmatch(content, end) if content.startswith(_HEAD) and len(content) - end < _MOST_TAIL else None
    if tail is None or tail[1].decode() != signer.id:
        return None
    try:
        payload, signed = (base64.b64decode(part, validate=True) for part in (content[len(_HEAD) : end], tail[2]))
    except ValueError:
        return None
    return dict(json.loads(payload)) if signer.verify(pre_authentication(payload), signed) else None


def is_about(told: Mapping[str, Any], digest: str) -> bool:
    """Whether a statement is about this image: anybody may let one about another image refer to it."""
    algorithm, _, value = digest.partition(":")
    return any(one["digest"].get(algorithm) == value for one in told["subject"])


def artifact(
    blobs: Sequence[Blob], artifact_type: str, subject: Manifest | None, annotations: Mapping[str, str] | None = None
) -> bytes:
    """A manifest of these blobs, about `subject`."""
    about = {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size} if subject else None
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": Blob(_EMPTY, EMPTY_CONFIG).descriptor,
        "layers": [blob.descriptor for blob in blobs],
        **({"subject": about} if about else {}),
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return compact(manifest)


def tag_beside(digest: str, kind: str) -> str:
    """The tag under which cosign looks for what belongs to an image; `kind` is sig or att.

    >>> tag_beside("sha256:ab", "sig")
    'sha256-ab.sig'
    """
    return f"{digest.replace(':', '-')}.{kind}"


def compact(value: object) -> bytes:
    """JSON without spaces, the same for the same value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")

"""What names an image in our own registry. remote/reference.py has the names of images anywhere. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lumper.errors import Invalid
from lumper.model.images.image import PRIVATE_PREFIX, is_digest, is_repository, is_tag


@dataclass(frozen=True)
class Reference:
    """A repository, with a tag or a digest in it; "" for what was not given."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}".rstrip(":")


def parse_reference(text: str) -> Reference:
    """`REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`. Raises Invalid, also for build-private tags.

    >>> parse_reference("owner/app:1.0")
    Reference(repository='owner/app', tag='1.0', digest='')
    """
    name, _, digest = text.partition("@")
    repository, _, tag = name.partition(":")
    good = is_repository(repository) and (not tag or is_tag(tag)) and (not digest or is_digest(digest))
    if not good or (tag and digest) or text[-1:] in ("@", ":"):
        raise Invalid(f"{text[:300]!r} names no image.", hint=_hint(text))
    if tag.startswith(PRIVATE_PREFIX):
        raise Invalid(f"The tag {tag} belongs to a build.", hint="Only builds move and remove it.")
    return Reference(repository, tag, digest)


def _hint(text: str) -> str:
    """What to write instead of what names no image."""
    host, _, rest = text.rpartition("://")[2].partition("/")
    if rest and (":" in host or "." in host or host == "localhost"):
        return f"Leave out the registry's host: {rest[:300]}."
    if re.search(r"@sha256:[0-9a-f]+\Z", text):
        return "Write all 64 digits of the digest: `lumper image inspect REPOSITORY:TAG` shows them."
    return "Write REPOSITORY:TAG or REPOSITORY@sha256:…."

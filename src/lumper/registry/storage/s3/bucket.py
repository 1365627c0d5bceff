"""The bucket that images lie in: where it is, and how it is reached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lumper.errors import Invalid
from lumper.registry.storage.s3.signature import Credentials

SILENCE = 30.0
"""Seconds in which an S3 service has to take or say something: a client, and proxies before us, wait for a minute."""

_URL = re.compile(r"s3://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)/?")


@dataclass(frozen=True)
class Bucket:
    """A bucket of the service at `endpoint`, or what has `prefix` in it; "" is all.

    `ca_file` holds the certificates that are trusted, as PEM. The service is away if it neither takes nor says anything
    for `silence` seconds.
    """

    endpoint: str
    name: str
    prefix: str
    credentials: Credentials
    ca_file: Path | None = None
    silence: float = SILENCE

    @classmethod
    def at(cls, url: str, endpoint: str, credentials: Credentials, ca_file: Path | None = None) -> Self:
        """The one at s3://NAME/PREFIX; `endpoint` is "" for AWS. Raises Invalid for another URL.

        Source: AWS, "General purpose bucket naming rules".
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise Invalid(
                f"[registry] storage is {url!r}, which names no bucket.",
                hint="Write s3://BUCKET or s3://BUCKET/PREFIX, with letters, digits, dots and dashes.",
            )
        endpoint = endpoint.rstrip("/") or f"https://s3.{credentials.region}.amazonaws.com"
        return cls(endpoint, match[1], match[2].strip("/"), credentials, ca_file)

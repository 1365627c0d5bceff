"""Signing requests to S3. Source: AWS, "Authenticating Requests: Using the Authorization Header (Signature V4)"."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote


@dataclass(frozen=True)
class Credentials:
    """An access key, and the region for which it signs."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str


def query_string(query: Mapping[str, str]) -> str:
    """The query in the one form that is signed: sorted, everything but unreserved characters escaped."""
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items()))


def signed(
    credentials: Credentials, method: str, host: str, path: str, query: str, payload_sha256: str, now: datetime
) -> dict[str, str]:
    """The headers that a request needs. `path` is escaped already, `query` is from `query_string`, `now` is in UTC."""
    time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": payload_sha256, "x-amz-date": time}
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    request = "\n".join([method, path, query, *lines, "", names, payload_sha256])
    scope = f"{day}/{credentials.region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = _hmac(key, part)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope},"
        f"SignedHeaders={names},Signature={_hmac(key, text).hex()}"
    )
    return headers


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")

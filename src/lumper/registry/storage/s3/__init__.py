"""Blobs and uploads in an S3 bucket. The layout is drawn in keys.py."""

from __future__ import annotations

from lumper.registry.storage.s3.bucket import Bucket
from lumper.registry.storage.s3.signature import Credentials
from lumper.registry.storage.s3.storage import S3Storage

__all__ = ["Bucket", "Credentials", "S3Storage"]

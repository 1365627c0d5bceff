"""Files that go out."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from lumper.errors import StorageError
from lumper.web.oci.sendfile import FileSender, send_file


async def test_a_file_for_which_no_descriptor_is_left_cannot_be_had_at_the_moment(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    request, sender = make_mocked_request("GET", "/"), FileSender()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.open(tmp_path, os.O_RDONLY)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        with pytest.raises(StorageError, match="Too many open files"):
            await send_file(sender, request, web.StreamResponse(), tmp_path / "blob", [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(FileNotFoundError):
        await send_file(sender, request, web.StreamResponse(), tmp_path / "gone", [])

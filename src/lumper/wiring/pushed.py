"""What engines that are programs do not do themselves at the registry that they push to."""

from __future__ import annotations

from lumper.build.port import Login
from lumper.errors import RemoteError
from lumper.model.addresses import registry_url
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import RetryPolicy
from lumper.registry.remote.registry import RemoteRegistry

_PATIENCE = RetryPolicy(attempts=3, longest=5.0, connect=10.0, idle=60.0)


async def manifest_size(image: str, digest: str, login: Login | None) -> int:
    """How large the manifest is, in bytes, that was pushed in this image's name; 0 where it cannot be asked."""
    host, _, name = image.partition("/")
    registry = RemoteRegistry(registry_url(host), _credentials(login), patience=_PATIENCE)
    try:
        return len((await registry.manifest(name.rpartition(":")[0], digest)).body)
    except RemoteError:
        return 0
    finally:
        await registry.close()


def _credentials(login: Login | None) -> Credentials:
    return Credentials(login.username, login.password) if login else Credentials()

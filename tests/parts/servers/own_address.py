"""An address that this machine alone has, on its loopback interface, and that programs do not take for loopback."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from parts.suite.needs import lacking


@contextmanager
def own_address() -> Iterator[str]:
    """Such an address, from the block that RFC 2544 keeps for tests, for as long as the block lasts."""
    if os.geteuid() != 0:
        lacking("giving the machine an address takes root")
    address = f"198.18.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}"
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        yield address
    finally:
        subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"], check=True)

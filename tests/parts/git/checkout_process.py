"""A process of its own that checks out one tag, to be killed: `python checkout_process.py FOLDER URL COMMIT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lumper.build.source.checkout import CheckoutRequest, Mirrors


async def main() -> None:
    """Check out and say so."""
    folder, url, commit = sys.argv[1:]
    async with Mirrors(Path(folder)).checkout(CheckoutRequest("p1", url, False, "refs/tags/v1", commit)):
        print("checked out", flush=True)


if __name__ == "__main__":
    asyncio.run(main())

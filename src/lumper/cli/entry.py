"""Where the program `lumper` begins."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run one command. While it is being loaded, Ctrl-C ends it at once, without a word."""
    # Nothing has begun yet that has to be ended well, and a KeyboardInterrupt within an import can get lost.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lumper.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except SystemExit as ended:
        _leave(ended.code)
        raise
    _leave(0)


def _leave(status: object) -> None:
    """End at once where the client of S3 was used, if the command said how it ended by a number.

    Its threads may still be putting away what they had of Python: until 3.14 Python kills a thread that comes for that
    while it ends, which is an abort of the whole program.
    """
    if "obstore" in sys.modules and isinstance(status, int):
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        os._exit(status)

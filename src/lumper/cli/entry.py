"""Where the program `lumper` begins."""

from __future__ import annotations

import signal


def main() -> None:
    """Run one command. While it is being loaded, Ctrl-C ends it at once, without a word."""
    # Nothing has begun yet that has to be ended well, and a KeyboardInterrupt within an import can get lost.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lumper.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()

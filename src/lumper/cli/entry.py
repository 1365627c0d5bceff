"""Where the program `lumper` begins."""

from __future__ import annotations

import os
import signal
import sys

_AGAIN_SECONDS = 0.01


def main() -> None:
    """Run one command. While it is being loaded, Ctrl-C ends it at once, without a word."""
    _repeat_lost_interrupts()
    # Nothing has begun yet that has to be ended well, and a KeyboardInterrupt within an import can get lost or become
    # another error.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lumper.cli.main import main as run

    try:
        run(loaded=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    except SystemExit as ended:
        _leave(ended.code)
        raise
    _leave(0)


def _repeat_lost_interrupts() -> None:
    """Let a Ctrl-C come again whose KeyboardInterrupt Python has only reported.

    It does so with all that is raised where nobody can catch it: within a finalizer, and within the callback that ends
    the lock of every import, of which some commands have more while they run.
    """
    report = sys.unraisablehook

    def repeat(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            report(lost)
        elif not sys.is_finalizing():
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)  # raised in here, it would be lost as well

    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.unraisablehook = repeat


def _leave(status: object) -> None:
    """End at once where the client of S3 was used, if the command said how it ended by a number.

    Its threads may still be putting away what they had of Python: until 3.14 Python kills a thread that comes for that
    while it ends, which is an abort of the whole program.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)  # there is nothing more that a Ctrl-C could end
    if "obstore" in sys.modules and isinstance(status, int):
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        os._exit(status)

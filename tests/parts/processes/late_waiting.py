"""A program whose system calls wait late: a signal comes between its decision to wait and the wait."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = """
typedef long size; typedef struct { long seconds, nanoseconds; } span;
int nanosleep(const span *, span *);
int *__errno_location(void);
void *dlsym(void *, const char *);
#define LATE(answer, name, types, names) \\
  answer name types { \\
    static answer (*real) types; span late = { 0, 300000000 }; \\
    if (!real) real = dlsym((void *) -1l, #name); \\
    nanosleep(&late, 0); \\
    *__errno_location() = 0; \\
    return real names; \\
  }
LATE(size, recv, (int fd, void *to, size length, int flags), (fd, to, length, flags))
LATE(int, poll, (void *fds, unsigned long count, int timeout), (fds, count, timeout))
"""


def late_waiting(folder: Path) -> dict[str, str]:
    """The environment in which a program waits 0.3 s late for what comes from a socket. Needs a C compiler."""
    source, library = folder / "late.c", folder / "late.so"
    source.write_text(_SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-w", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}

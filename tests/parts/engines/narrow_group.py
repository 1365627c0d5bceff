"""A control group of this machine's kernel that holds a few processes only, for what means to start very many."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from parts.suite.waiting import wait_for

_KERNEL = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def narrow_group(processes: int, cpus: float) -> Iterator[str]:
    """The name of a group with so many processes and CPUs at most. Fails if something still runs in it at the end."""
    name = f"lumper-narrow-{secrets.token_hex(4)}"
    unified = (_KERNEL / "cgroup.controllers").exists()
    quota = round(cpus * 100_000)
    if unified:
        (_KERNEL / "cgroup.subtree_control").write_text("+pids +cpu")
        _write(_KERNEL / name, {"pids.max": processes, "cpu.max": f"{quota} 100000"})
    else:
        _write(_KERNEL / "pids" / name, {"pids.max": processes})
        _write(_KERNEL / "cpu" / name, {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": quota})
    counted = (_KERNEL if unified else _KERNEL / "pids") / name
    try:
        yield f"/{name}"
        wait_for(lambda: not _members(counted), f"the end of all that runs in {counted}")
    finally:
        for hierarchy in [_KERNEL] if unified else [each for each in _KERNEL.iterdir() if not each.is_symlink()]:
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def _write(group: Path, values: dict[str, int | str]) -> None:
    group.mkdir()
    for key, value in values.items():
        (group / key).write_text(str(value))


def _members(group: Path) -> list[str]:
    return [pid for folder, _, _ in os.walk(group) for pid in (Path(folder) / "cgroup.procs").read_text().split()]

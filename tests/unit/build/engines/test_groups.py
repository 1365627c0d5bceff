"""Control groups for the limits of builds, in a folder that looks like the kernel's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.groups import Groups
from lumper.build.port import Limits
from lumper.errors import EngineError

MIB = 1 << 20


def groups(root: Path) -> Groups:
    """The groups of one worker."""
    return Groups(root, root / "users")


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    return tmp_path


@pytest.fixture
def several(tmp_path: Path) -> Path:
    for controller in ("memory", "cpu", "pids"):
        (tmp_path / controller).mkdir()
    return tmp_path


def group_of(root: Path, name: str, controller: str = "") -> Path:
    return root / controller / name.removeprefix("/")


async def test_without_limits_there_is_no_group(unified: Path) -> None:
    async with groups(unified).group("localhost/app", Limits()) as name:
        assert name == ""
    assert not (unified / "lumper").exists()


async def test_limits_stand_in_the_group_while_the_build_runs(unified: Path) -> None:
    async with groups(unified).group("localhost/app", Limits(64 * MIB, 1.5)) as name:
        group = group_of(unified, name)
        assert (group / "memory.max").read_text() == str(64 * MIB)
        assert (group / "memory.swap.max").read_text() == "0"
        assert (group / "cpu.max").read_text() == "150000 100000"
        assert (unified / "lumper/cgroup.subtree_control").read_text() == "+memory +cpu"


async def test_older_kernels_have_a_hierarchy_for_each_controller(several: Path) -> None:
    async with groups(several).group("localhost/app", Limits(cpus=0.25)) as name:
        assert (group_of(several, name, "cpu") / "cpu.cfs_quota_us").read_text() == "25000"


async def test_the_name_is_the_same_for_each_build_of_a_repository(unified: Path) -> None:
    one = groups(unified)
    async with one.group("localhost/app", Limits(MIB)) as first:
        pass
    async with one.group("localhost/app", Limits(2 * MIB)) as second, one.group("x/y", Limits(MIB)) as other:
        assert first == second != other


async def test_builds_at_the_same_time_have_room_for_all(unified: Path) -> None:
    one = groups(unified)
    async with one.group("localhost/app", Limits(64 * MIB, 1.0)) as name:
        memory, cpus = group_of(unified, name) / "memory.max", group_of(unified, name) / "cpu.max"
        async with one.group("localhost/app", Limits(32 * MIB)):
            assert memory.read_text() == str(96 * MIB)
            assert cpus.read_text() == "max 100000"
        assert memory.read_text() == str(64 * MIB)
        assert cpus.read_text() == "100000 100000"


async def test_one_build_without_a_limit_of_a_kind_leaves_all_of_them_without(unified: Path) -> None:
    one = groups(unified)
    async with one.group("localhost/app", Limits(64 * MIB, 1.0)) as name, one.group("localhost/app", Limits(0, 2.0)):
        assert (group_of(unified, name) / "memory.max").read_text() == "max"
        assert (group_of(unified, name) / "memory.swap.max").read_text() == "max"
        assert (group_of(unified, name) / "cpu.max").read_text() == "300000 100000"


async def test_another_worker_on_the_machine_neither_takes_the_limits_away_nor_narrows_them(unified: Path) -> None:
    async with groups(unified).group("localhost/app", Limits(64 * MIB)) as name:
        memory = group_of(unified, name) / "memory.max"
        async with groups(unified).group("localhost/app", Limits(32 * MIB)):
            assert memory.read_text() == str(96 * MIB)
        assert memory.read_text() == str(64 * MIB)


async def test_the_limits_of_a_killed_worker_count_no_more(unified: Path) -> None:
    async with groups(unified).group("localhost/app", Limits(64 * MIB)) as name:
        left = unified / "users" / f"{name.rpartition('/')[2]}.left"
        left.write_text(f"{32 * MIB} 0.0")
        async with groups(unified).group("localhost/app", Limits(16 * MIB)):
            assert (group_of(unified, name) / "memory.max").read_text() == str(80 * MIB)
        assert not left.exists()


async def test_nothing_is_left(several: Path) -> None:
    async with groups(several).group("localhost/app", Limits(MIB)) as name:
        for controller in ("memory", "cpu", "pids"):
            (group_of(several, name, controller) / "buildkit").mkdir(parents=True, exist_ok=True)
        for file in several.rglob("*.*"):  # those of the kernel go with their folder
            file.unlink()
    assert not list(several.glob(f"*{name}"))
    assert [path.name for path in (several / "users").iterdir()] == ["lock"]


async def test_limits_that_cannot_be_set_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("not a folder")
    with pytest.raises(EngineError, match="cannot be set"):
        async with groups(tmp_path).group("localhost/app", Limits(MIB)):
            pass


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can be another user")
@pytest.mark.parametrize(("user", "shared"), [(0, True), (65534, False)])
def test_an_engine_without_root_shares_nothing(unified: Path, user: int, shared: bool) -> None:
    listen = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True)"
    with tempfile.TemporaryDirectory(prefix="engine") as folder:
        Path(folder).chmod(0o777)
        command = ["/usr/bin/python3", "-c", f"{listen}; input()", f"{folder}/socket"]
        with subprocess.Popen(command, user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
            assert engine.stdout is not None
            engine.stdout.readline()
            assert groups(unified).shared_with(f"{folder}/socket") is shared
            engine.terminate()


def test_an_engine_that_is_not_there_shares_nothing(unified: Path) -> None:
    assert not groups(unified).shared_with(f"{unified}/none.sock")
    assert not groups(unified).shared_with("")

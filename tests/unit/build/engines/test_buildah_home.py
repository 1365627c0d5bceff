from __future__ import annotations

import asyncio
import io
import json
import shutil
import tarfile
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lumper.build.engines.buildah.home import BuildahHome
from lumper.build.engines.programs.process import Program, end, end_orphans
from lumper.build.engines.programs.unpack import find_dockerfile, unpack
from lumper.errors import DockerfileMissing, EngineError, EngineUnavailable
from parts.disks.small_disk import filled, small_disk
from parts.engines.context import context_tar, stream
from parts.suite.eventually import eventually


@pytest.fixture
def place(tmp_path: Path) -> Iterator[BuildahHome]:
    made = BuildahHome(tmp_path / "buildah")
    made.prepare()
    yield made
    shutil.rmtree(made.volatile, ignore_errors=True)


def test_images_come_from_registries_and_from_no_file_or_engine_of_the_machine(place: BuildahHome) -> None:
    policy = json.loads((place.base / ".config/containers/policy.json").read_text())
    refused = [{"type": "reject"}]

    assert policy["default"] != refused
    for transport in ("dir", "oci", "oci-archive", "docker-archive", "docker-daemon", "containers-storage"):
        assert policy["transports"][transport][""] == refused
    registries = tomllib.loads((place.base / ".config/containers/registries.conf.d/zz-lumper.conf").read_text())
    assert registries["unqualified-search-registries"] == ["docker.io"]
    assert {one["prefix"] for one in registries["registry"] if one["insecure"]} == {"127.0.0.1", "localhost", "[::1]"}


def test_the_worker_s_own_environment_does_not_reach_buildah(place: BuildahHome) -> None:
    outer = {"PATH": "/bin", "HOME": "/root", "LUMPER_SECRET": "x", "REGISTRY_AUTH_FILE": "/y", "HTTPS_PROXY": "p"}

    environment = place.environment(outer)
    assert environment.keys() == {"PATH", "HOME", "TMPDIR", "LC_ALL", "HTTPS_PROXY"}
    assert environment["HOME"] == str(place.base)


async def test_the_folders_of_a_build_are_its_own_and_gone_afterwards(place: BuildahHome) -> None:
    async with place.folders() as folders:
        secret = folders.keep("secret", b"geheim")
        assert secret.read_bytes() == b"geheim"
        assert (secret.stat().st_mode & 0o777, folders.secret.stat().st_mode & 0o777) == (0o600, 0o700)
        assert folders.work.stat().st_mode & 0o777 == 0o700
    assert not folders.secret.exists()
    assert not folders.work.exists()


async def test_who_tidies_up_is_alone(place: BuildahHome) -> None:
    async with place.shared():
        with place.alone() as alone:
            assert not alone
        async with place.shared():
            pass
    with place.alone() as alone:
        assert alone


@pytest.mark.parametrize("ends", [True, False])
async def test_who_waits_to_be_alone_comes_before_those_who_begin_later_and_gives_up_at_last(
    place: BuildahHome, ends: bool
) -> None:
    done: list[str] = []
    told, end = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with place.shared():
            await end.wait()
            done.append("first")

    async def tidy() -> None:
        async with place.alone_within(60.0 if ends else 0.2) as alone:
            done.append(f"alone: {alone}")

    async def later() -> None:
        async with BuildahHome(place.base).shared(told.set):  # as another process would
            done.append("later")

    tasks = [asyncio.create_task(first())]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(tidy()))
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(later()))
    if ends:
        await told.wait()
        end.set()
    else:
        await asyncio.wait(tasks[1:], timeout=60)
        end.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    assert done == (["first", "alone: True", "later"] if ends else ["alone: False", "later", "first"])


def test_what_killed_builds_left_is_swept_and_caches_of_mounts_are_not(place: BuildahHome) -> None:
    for left in ("tmp/buildah123", "tmp/buildah-cache-0", "work/abc/context"):
        (place.base / left).mkdir(parents=True)
    (place.volatile / "abc").mkdir()

    place.sweep()

    assert [path.name for path in (place.base / "tmp").iterdir()] == ["buildah-cache-0"]
    assert list((place.base / "work").iterdir()) == []
    assert [path.name for path in place.volatile.iterdir()] == ["tmp"]


def test_a_folder_in_memory_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    place = BuildahHome(tmp_path / "buildah")
    place.volatile.mkdir()
    place.volatile.chmod(0o755)
    try:
        with pytest.raises(EngineUnavailable, match="belongs to somebody else"):
            place.prepare()
    finally:
        place.volatile.rmdir()


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as disk:
        place = BuildahHome(disk / "buildah")
        try:
            with filled(disk), pytest.raises(EngineUnavailable, match="No space left") as refused:
                place.prepare()
            assert "Free some space" in refused.value.hint
            place.prepare()
        finally:
            shutil.rmtree(place.volatile, ignore_errors=True)


async def test_a_context_is_unpacked_with_its_modes_and_links(tmp_path: Path) -> None:
    await unpack(stream(context_tar({"a/b": "text"}, links={"link": "a/b"})), tmp_path / "context")

    assert (tmp_path / "context/link").read_text() == "text"
    assert (tmp_path / "context/busybox").stat().st_mode & 0o777 == 0o755


async def test_a_context_cannot_leave_its_folder(tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        for name in ("../escaped", "out/escaped"):
            file = tarfile.TarInfo(name)
            file.size = 1
            archive.addfile(file, io.BytesIO(b"x"))

    with pytest.raises(EngineError, match="cannot be unpacked"):
        await unpack(stream(tar.getvalue()), tmp_path / "context")
    assert not (tmp_path / "escaped").exists()


async def test_a_context_that_breaks_off_is_an_error_of_the_engine(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield context_tar({"Dockerfile": "FROM scratch\n"})[:700]

    with pytest.raises(EngineError, match="cannot be unpacked: Unexpected EOF"):
        await unpack(broken(), tmp_path / "context")


def test_a_dockerfile_is_one_of_the_context(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "docker").mkdir(parents=True)
    (context / "docker/app").write_text("FROM scratch\n")
    (context / "Dockerfile").symlink_to("docker/app")
    (tmp_path / "secret").write_text("geheim")
    (context / "out").symlink_to(tmp_path / "secret")

    assert find_dockerfile(context, "Dockerfile") == context / "docker/app"
    for name in ("out", "../secret", "docker", "none"):
        with pytest.raises(DockerfileMissing):
            find_dockerfile(context, name)


async def test_lines_come_in_the_order_in_which_they_were_said_and_with_who_said_them() -> None:
    heard: list[tuple[bool, int, bytes]] = []
    child = 'sh -c "echo three; echo four >&2"'
    script = f"echo one; echo two >&2; {child}; echo five >&2; echo six; exit 7"

    code = await Program(["sh", "-c"], {"PATH": "/usr/bin:/bin"}, "sh").attend(
        [script], lambda *said: heard.append(said)
    )

    assert code == 7
    assert [(stream, data.strip()) for _, stream, data in heard] == [
        *((1, b"one"), (2, b"two"), (1, b"three"), (2, b"four"), (2, b"five"), (1, b"six"))
    ]
    assert [own for own, _, _ in heard] == [True, True, False, False, True, True]


async def test_a_program_ends_with_all_that_it_started_even_in_other_sessions(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >{pid}; sleep 600' & wait"
    process = await asyncio.create_subprocess_exec("sh", "-c", script, start_new_session=True)

    async def begun() -> bool:
        return pid.exists() and bool(pid.read_text().strip())

    await eventually(begun)
    child = Path(f"/proc/{pid.read_text().strip()}")
    assert child.exists()

    await end(process, grace=0.2)

    assert not child.exists() or (child / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_programs_of_a_killed_worker_end_with_all_that_they_started_and_no_others(tmp_path: Path) -> None:
    async def start(home: Path) -> asyncio.subprocess.Process:
        script = f"setsid sleep 600 & echo $! >{home}/pid; wait"
        home.mkdir()
        made = await asyncio.create_subprocess_exec(
            "sh", "-c", script, start_new_session=True, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}
        )

        async def begun() -> bool:
            return (home / "pid").exists() and bool((home / "pid").read_text().strip())

        await eventually(begun)
        return made

    orphan, other = await start(tmp_path / "base"), await start(tmp_path / "base-2")
    try:
        end_orphans(tmp_path / "base")

        assert await asyncio.wait_for(orphan.wait(), 60) == -9

        async def gone() -> bool:
            return not Path(f"/proc/{(tmp_path / 'base/pid').read_text().strip()}").exists()

        await eventually(gone)
        assert other.returncode is None
    finally:
        await end(other, grace=0.2)

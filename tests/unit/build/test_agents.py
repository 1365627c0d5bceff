"""Agents of OpenSSH itself, with keys of its own making."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from lumper.build.agents import agents
from lumper.errors import EngineError, Invalid


def key(folder: Path, *more: str) -> tuple[bytes, str]:
    """A new private key, and its fingerprint."""
    file = folder / f"key-{len(list(folder.iterdir()))}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", *(more or ("",)), "-f", file], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{file}.pub"], check=True, capture_output=True, text=True)
    return file.read_bytes(), shown.stdout.split()[1]


def held(socket: str) -> str:
    """What an agent says that it holds."""
    asked = subprocess.run(
        ["ssh-add", "-l"], env={"SSH_AUTH_SOCK": socket}, capture_output=True, text=True, check=False
    )
    return asked.stdout


def processes() -> str:
    """All that runs on this machine."""
    return subprocess.run(["ps", "ax"], check=True, capture_output=True, text=True).stdout


async def test_each_key_has_an_agent_that_ends_with_the_block(tmp_path: Path) -> None:
    (one, first), (other, second) = key(tmp_path), key(tmp_path)
    async with agents({"default": one.rstrip(b"\n"), "vendor": other}, 60) as sockets:
        assert set(sockets) == {"default", "vendor"}
        assert first in held(sockets["default"])
        assert second not in held(sockets["default"])
        assert second in held(sockets["vendor"])
        folder = Path(sockets["default"]).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [file for file in folder.iterdir() if not file.is_socket()] == []
    assert not folder.exists()
    assert str(folder) not in processes()


async def test_an_agent_ends_also_when_the_build_is_cancelled(tmp_path: Path) -> None:
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with agents({"default": key(tmp_path)[0]}, 60) as sockets:
            begun.set_result(sockets["default"])
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    socket = await begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not Path(socket).exists()
    assert held(socket) == ""


async def test_without_keys_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nothing")
    async with agents({}, 60) as sockets:
        assert sockets == {}
    with pytest.raises(EngineError, match="no program `ssh-agent`"):
        async with agents({"default": b"key"}, 60):
            pass


@pytest.mark.parametrize("phrase", ["", "a phrase"])
async def test_what_is_no_key_without_a_passphrase_is_refused_and_not_waited_for(tmp_path: Path, phrase: str) -> None:
    content = key(tmp_path, phrase)[0] if phrase else b"no key"
    with pytest.raises(Invalid, match="ssh key default") as caught:
        async with agents({"default": content}, 60):
            pass
    assert "without a passphrase" in caught.value.hint


async def test_the_agent_of_the_operator_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "mine"))
    async with agents({"default": key(tmp_path)[0]}, 60) as sockets:
        assert sockets["default"] != os.environ["SSH_AUTH_SOCK"]

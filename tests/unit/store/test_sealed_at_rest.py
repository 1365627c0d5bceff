"""What a copy of the database tells: no password of git, no token of a forge, no secret of a webhook."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from lumper.config.layout import DataFolder
from lumper.config.settings import Config, DatabaseConfig
from lumper.errors import StorageError
from lumper.forges.port import Request
from lumper.forges.signature import without_secret
from lumper.line.history import SECRETS_KEY, History
from lumper.line.projects import ProjectHistory
from lumper.model.images.webhook import ACTIONS, Format
from lumper.model.links import Links
from lumper.model.source import Project, parse_git_url
from lumper.store.sealing import Sealer
from lumper.store.tables import projects
from lumper.wiring.assembly import open_own_history
from parts.servers.postgresql import PostgresServer, programs

PASSWORD, TOKEN, SECRET = "p4ssw0rd-of-git", "t0ken-of-the-forge", "s3cret-of-the-webhook"
CALLS = "s3cret-of-the-calls"


@pytest.fixture
async def project(history: History) -> Project:
    return await history.projects.add(parse_git_url(f"https://bot:{PASSWORD}@git.example.org/owner/app.git"))


def dump(url: str, tmp_path: Path) -> bytes:
    """All that whoever copies the database gets: the files of SQLite with its log, or what pg_dump writes."""
    if url.startswith("sqlite"):
        files = sorted(tmp_path.glob("lumper.db*"))
        assert {"lumper.db", "lumper.db-wal"} <= {file.name for file in files}
        return b"".join(file.read_bytes() for file in files)
    found = programs()
    assert found is not None
    command: list[str | Path] = [found / "pg_dump", "--no-password", f"--dbname={url}"]
    return subprocess.run(command, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"}).stdout


def spellings(secret: str) -> list[bytes]:
    """As text, as PostgreSQL writes bytes, and by the three places where base64 may begin."""
    raw = secret.encode()
    shifted = [base64.b64encode(b"\0" * skipped + raw)[4 if skipped else 0 : -4] for skipped in range(3)]
    return [raw, raw.hex().encode(), *shifted]


async def test_a_dump_of_the_database_has_none_of_the_secrets(
    history: History, project: Project, database_url: str, tmp_path: Path
) -> None:
    made = await history.projects.webhook_secret(project.id)
    seen = "a name that is no secret"
    await history.webhooks.add(f"https://ci.example.org/{seen}", CALLS, ACTIONS, "**", Format.LUMPER, private=False)
    await history.projects.set_secret("owner/app", SECRET)
    await history.projects.set_forge("owner/app", "gitea", "https://git.example.org", TOKEN, "7")
    assert await history.projects.webhook_secret(project.id) == SECRET
    assert await history.projects.git_login(project.id) == ("bot", PASSWORD)
    assert (await history.projects.with_forge_token("owner/app"))[1] == TOKEN
    [webhook] = await history.webhooks.all()
    assert await history.webhooks.secret(webhook) == CALLS
    copied = dump(database_url, tmp_path)
    assert seen.encode() in copied
    for secret in (PASSWORD, TOKEN, SECRET, CALLS, made):
        assert not [spelling for spelling in spellings(secret) if spelling in copied]


async def test_with_another_key_all_but_the_secrets_is_there_and_they_can_be_set_anew(
    history: History, project: Project, tmp_path: Path
) -> None:
    other = ProjectHistory(history.database, Sealer(tmp_path / "other" / SECRETS_KEY))
    assert await other.all() == [project]
    with pytest.raises(StorageError, match="cannot be read"):
        await other.webhook_secret(project.id)
    with pytest.raises(StorageError, match="cannot be read"):
        await other.git_login(project.id)
    await other.set_secret("owner/app", SECRET)
    assert await other.like("app") == [(project, SECRET)]


async def test_a_secret_cannot_be_put_to_another_use_or_into_another_project(
    history: History, project: Project
) -> None:
    other = await history.projects.add(parse_git_url("https://git.example.org/owner/other.git"))
    async with history.database.write() as connection:
        sealed = select(projects.c.sealed_password).where(projects.c.id == project.id).scalar_subquery()
        await connection.execute(update(projects).values(sealed_secret=sealed))
    for one in (project, other):
        with pytest.raises(StorageError):
            await history.projects.webhook_secret(one.id)


def test_a_key_that_is_put_back_counts_without_a_restart(tmp_path: Path) -> None:
    file, kept = tmp_path / "key", tmp_path / "kept"
    sealer = Sealer(file)
    sealed = sealer.seal_text(SECRET, "x")
    file.rename(kept)
    with pytest.raises(StorageError):
        sealer.open_text(sealed, "x")
    kept.replace(file)
    assert sealer.open_text(sealed, "x") == SECRET


async def test_a_key_of_one_s_own_is_not_copied_into_a_database_that_servers_share(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    own = tmp_path / "own.key"
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    config = Config(data=folder.root, database=DatabaseConfig(url=SecretStr(postgres.fresh()), secrets_key_file=own))
    links = Links("http://l", "l", "l")
    with pytest.raises(StorageError, match=r"own\.key cannot be used: No such file"):
        async with open_own_history(config, folder, links):
            pass
    key = base64.b64encode(b"k" * 32)
    own.write_bytes(key)
    async with open_own_history(config, folder, links) as history:
        project = await history.projects.add(parse_git_url(f"https://bot:{PASSWORD}@git.example.org/owner/app.git"))
        assert await history.projects.git_login(project.id) == ("bot", PASSWORD)
    copied = dump(config.database.url.get_secret_value(), tmp_path)
    assert b"owner/app" in copied
    assert key not in copied
    assert key.hex().encode() not in copied


@pytest.mark.parametrize("secret", [SECRET, 'with"quotes\\and<angles>&more'])
def test_a_secret_that_a_forge_sends_along_is_not_kept(secret: str) -> None:
    in_go = '"' + secret.replace("\\", "\\\\").replace('"', '\\"').replace("<", "\\u003c") + '"'
    in_go = in_go.replace(">", "\\u003e").replace("&", "\\u0026")
    request = Request({"x-some-token": secret}, b'{"secret":%s,"ref":"refs/tags/v1"}' % in_go.encode())
    assert without_secret(request, secret) == Request({"x-some-token": "***"}, b'{"secret":"***","ref":"refs/tags/v1"}')

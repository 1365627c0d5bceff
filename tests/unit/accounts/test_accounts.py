from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from lumper.accounts.accounts import Accounts
from lumper.errors import Conflict, Invalid, NotFound, StorageError
from lumper.model.people.people import Role
from lumper.store.database import Database
from lumper.store.tables import tokens, users


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/lumper.db")
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


async def test_only_the_right_password_of_the_right_user_is_accepted(accounts: Accounts) -> None:
    await accounts.create_user("ada", "correct horse", Role.OPERATOR)

    found = await accounts.verify_password("ada", "correct horse")

    assert found is not None
    assert (found.identity.name, found.identity.role) == ("ada", Role.OPERATOR)
    for name, password in (
        ("ada", "correct horse "),
        ("ada", ""),
        ("Ada", "correct horse"),
        ("", ""),
        ("ada", "\ud800"),
    ):
        assert await accounts.verify_password(name, password) is None


async def test_a_password_is_kept_as_argon2id_only(accounts: Accounts, database: Database) -> None:
    await accounts.create_user("ada", "correct horse")

    async with database.read() as connection:
        row = (await connection.execute(select(users))).one()
    assert row.password_hash.startswith("$argon2id$")


async def test_a_changed_password_replaces_the_old_one(accounts: Accounts) -> None:
    await accounts.create_user("ada", "correct horse")
    before, known = accounts.version, await accounts.verify_password("ada", "correct horse")
    assert known is not None
    assert await accounts.still("ada", known.identity.credential) == known

    await accounts.set_password("ada", "battery staple")

    assert await accounts.verify_password("ada", "correct horse") is None
    assert await accounts.verify_password("ada", "battery staple") is not None
    assert accounts.version > before
    assert await accounts.still("ada", known.identity.credential) is None


async def test_bad_names_and_passwords_and_roles_are_refused(accounts: Accounts) -> None:
    for name in ("", "-x", "a b", "x" * 65, "a\n", "(setup)", "é"):
        with pytest.raises(Invalid):
            await accounts.create_user(name, "correct horse")
        with pytest.raises(Invalid):
            await accounts.create_token(name, Role.ADMIN)
    for password in ("", "short", "lmp_looks-like-a-token", "lmb_looks-like-a-build"):
        with pytest.raises(Invalid):
            await accounts.create_user("ada", password)
    with pytest.raises(Invalid):
        await accounts.create_user("ada", "correct horse", Role.WORKER)


async def test_a_user_is_made_once_and_removed_once(accounts: Accounts) -> None:
    await accounts.create_user("ada", "correct horse")
    with pytest.raises(Conflict):
        await accounts.create_user("ada", "another password")
    assert [user.name for user in await accounts.users()] == ["ada"]

    await accounts.delete_user("ada")

    for gone in (accounts.delete_user("ada"), accounts.set_password("ada", "another password")):
        with pytest.raises(NotFound):
            await gone
    assert await accounts.verify_password("ada", "correct horse") is None


async def test_a_token_stands_for_its_role_until_it_expires_or_is_revoked(accounts: Accounts) -> None:
    token = await accounts.create_token("ci", Role.DEPLOYER)
    soon = await accounts.create_token("old", Role.ADMIN, datetime.now(UTC) - timedelta(seconds=1))

    found = await accounts.verify_token(token)

    assert token.startswith("lmp_")
    assert found is not None
    assert (found.identity.name, found.identity.role) == ("ci", Role.DEPLOYER)
    assert await accounts.verify_token(soon) is None
    for wrong in ("", "lmp_", token + "x", token[4:], "\ud800"):
        assert await accounts.verify_token(wrong) is None
    assert [known.name for known in await accounts.tokens()] == ["ci", "old"]
    await accounts.delete_token("ci")
    assert await accounts.verify_token(token) is None
    with pytest.raises(NotFound):
        await accounts.delete_token("ci")


async def test_a_token_is_not_kept_in_the_clear(accounts: Accounts, database: Database) -> None:
    token = await accounts.create_token("ci", Role.DEPLOYER)
    with pytest.raises(Conflict):
        await accounts.create_token("ci", Role.ADMIN)

    async with database.read() as connection:
        row = (await connection.execute(select(tokens))).one()
    assert token not in str(row)


async def test_a_token_file_is_made_once_with_rights_for_its_owner_only(accounts: Accounts, tmp_path: Path) -> None:
    file = tmp_path / "data" / "worker.token"

    made = await asyncio.gather(*(accounts.ensure_token("worker", Role.WORKER, file) for _ in range(5)))

    assert len(set(made)) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["worker.token"]
    found = await accounts.verify_token(made[0])
    assert found is not None
    assert found.identity.role is Role.WORKER
    before = accounts.version
    assert await accounts.ensure_token("worker", Role.WORKER, file) == made[0]
    assert accounts.version == before


async def test_a_token_file_that_was_replaced_replaces_the_token(accounts: Accounts, tmp_path: Path) -> None:
    file = tmp_path / "worker.token"
    first = await accounts.ensure_token("worker", Role.WORKER, file)
    file.unlink()

    second = await accounts.ensure_token("worker", Role.WORKER, file)

    assert second != first
    assert await accounts.verify_token(first) is None
    assert await accounts.verify_token(second) is not None


@pytest.mark.parametrize("text", ["", "lmp_", "something else that is long enough to be a token", "é"])
async def test_a_token_file_that_holds_no_token_is_told(accounts: Accounts, tmp_path: Path, text: str) -> None:
    (tmp_path / "worker.token").write_text(text)

    with pytest.raises(StorageError):
        await accounts.ensure_token("worker", Role.WORKER, tmp_path / "worker.token")


async def test_a_setup_token_opens_once(accounts: Accounts) -> None:
    old = await accounts.create_setup_token()
    token = await accounts.create_setup_token()

    assert not await accounts.redeem_setup_token(old)
    assert not await accounts.redeem_setup_token("")
    assert await accounts.verify_token(token) is None
    assert await accounts.tokens() == []
    redeemed = await asyncio.gather(*(accounts.redeem_setup_token(token) for _ in range(5)))
    assert sorted(redeemed) == [False, False, False, False, True]


async def test_a_setup_token_expires(accounts: Accounts) -> None:
    assert not await accounts.redeem_setup_token(await accounts.create_setup_token(seconds=0))

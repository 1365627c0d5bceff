"""People whose passwords are compared at once: many tests sign in, and few are about how long that takes."""

from __future__ import annotations

from datetime import UTC, datetime

from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from lumper.model.people.people import Role
from lumper.store.database import Database, insert_missing
from lumper.store.tables import users


async def quick_user(database: Database, name: str, password: str) -> None:
    """An administrator of this name, if there is none yet."""
    quick = PasswordHasher.from_parameters(CHEAPEST).hash(password)
    row = {"name": name, "password_hash": quick, "role": Role.ADMIN, "created_at": datetime.now(UTC)}
    async with database.write() as connection:
        await connection.execute(insert_missing(connection, users), row)

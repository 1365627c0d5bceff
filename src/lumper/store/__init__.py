"""The database engine: SQLite and PostgreSQL, transactions, migrations, locks."""

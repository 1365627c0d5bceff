"""The session that BuildKit calls back: contexts, secrets, credentials."""

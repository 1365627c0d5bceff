"""The API for accounts."""

"""The API for what runs and what waits."""

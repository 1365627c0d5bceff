"""The API for projects."""

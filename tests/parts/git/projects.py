"""Projects that no database has."""

from __future__ import annotations

from datetime import UTC, datetime

from lumper.model.source import Project, parse_git_url


def project_at(url: str) -> Project:
    """A project of the repository at this URL, named after its path."""
    git_url = parse_git_url(url)
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Project(url, git_url.path, url, git_url.path, git_url.path.lower(), made, "secret", local=git_url.local)

"""Lumper: from `git tag` to a running container, with a digest and a mail."""

"""Builds in the database: queued, dispatched, ended, verified."""

"""Logs of builds, in files or in the database."""

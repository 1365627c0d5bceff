"""Handlers of the registry's routes."""

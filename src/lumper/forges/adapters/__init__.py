"""Adapters: one file per forge."""

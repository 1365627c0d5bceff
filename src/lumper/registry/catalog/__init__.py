"""The registry's tables and queries."""

"""The API for builds."""

"""The API for images and their rules."""

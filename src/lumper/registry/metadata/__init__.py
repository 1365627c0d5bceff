"""What the registry knows, without a database; with one, it is history/images.py."""

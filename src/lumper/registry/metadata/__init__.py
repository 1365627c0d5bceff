"""What the registry knows, without a database; with one, it is registry/catalog/images.py."""

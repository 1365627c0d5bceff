"""A client for other registries: references, credentials, requests that are careful whom they trust."""

"""Request and response bodies of the registry."""

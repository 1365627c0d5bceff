"""Push built images to a registry."""

"""What executes a Dockerfile: adapters of the engine port."""

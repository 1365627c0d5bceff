"""Pages of projects and deliveries."""

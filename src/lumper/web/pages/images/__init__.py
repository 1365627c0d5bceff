"""Pages of repositories and images."""

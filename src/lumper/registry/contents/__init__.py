"""What is in an image: the packages that its layers name."""

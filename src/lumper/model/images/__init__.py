"""Values and pure rules of images."""

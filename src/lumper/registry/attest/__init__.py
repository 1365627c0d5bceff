"""What is told of an image beside it: its signature, where it comes from, and what is in it."""

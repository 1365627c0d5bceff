"""The operating system and the libraries, where their documented interfaces end."""

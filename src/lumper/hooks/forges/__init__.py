"""One file a forge."""

"""The other direction: what Lumper asks of a forge. One file a forge."""

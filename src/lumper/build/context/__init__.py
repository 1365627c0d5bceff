"""What of the source goes to the engine. Pure."""

"""Telling people: an event becomes a message, a message goes through a channel."""

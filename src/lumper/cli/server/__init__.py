"""Commands that run Lumper and look after it."""

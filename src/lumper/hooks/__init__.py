"""The door for forges' webhooks: who sent it, what it says, what becomes of it."""

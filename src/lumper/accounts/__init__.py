"""Users, robots, their grants and their tokens."""

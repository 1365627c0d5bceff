"""Commands for users, robots, tokens and grants."""

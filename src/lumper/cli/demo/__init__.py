"""The whole line on a small real repository, to look at."""

"""Garbage collection, while pushes and pulls go on. holds.py and needs.py say what is not garbage.

collector      what is garbage, when and in which order it goes
orphans        bytes that nobody knows of: it is told of them
steady_clock   the time by which things come of age
"""

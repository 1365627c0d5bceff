"""Configuration to adapters to roles: the only rooms that know them all.

adapters    the adapter that the configuration names, behind its port
addresses   where the server listens, and where it is found
assembly    adapters and configuration to the application and to each role
processes   what a command runs: everything, the server, one role, or the API for one command
"""

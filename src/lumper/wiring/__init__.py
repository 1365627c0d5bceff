"""Configuration to adapters to roles: the only rooms that know them all.

adapters          the adapter that the configuration names, behind its port
engines           what builds, where it has the source from, and where it pushes to
addresses         where the server listens, and where it is found
assembly          adapters and configuration to the application and to what the server does beside it
roles             the same to a worker, mailer or deployer
storage_identity  database and storage belong together
pushed            what the registry says of an image that a program has pushed
processes         what a command runs: everything, the server, one role, or the API for one command
"""

"""Machines with a container engine: adapters of the host port."""

"""From a release to running containers: a plan, its execution, the hosts."""

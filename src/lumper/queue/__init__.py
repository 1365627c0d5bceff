"""The queue between the roles: at least once, durable, with leases, retries and dead letters."""

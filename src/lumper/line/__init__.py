"""The line from a push to a running image: deliveries, builds, logs, rollouts."""

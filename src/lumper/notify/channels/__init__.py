"""Ways to people: adapters of the channel port."""

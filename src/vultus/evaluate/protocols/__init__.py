"""Readers of the protocols that the field publishes, each giving `Pairs` or `People`."""

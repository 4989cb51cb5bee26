"""Brokers: what stores events and carries them between processes."""

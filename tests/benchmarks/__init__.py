"""Measures servers side by side; no part of the tests. `./tests/run bench` runs `__main__`."""

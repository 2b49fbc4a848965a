"""Published results, trained for again: one experiment a file, run by ``python -m benchmarks.reproduce``."""

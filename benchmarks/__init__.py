"""Paired benchmarks: the same result computed as hmu does it and as a plain loop would. See README.md."""

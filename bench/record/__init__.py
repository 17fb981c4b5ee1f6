"""A record of any size for benchmarks, and its measurements: `python -m bench.audit`."""

"""A record of any size for benchmarks, and what is measured with it: `python -m bench.audit`."""

"""A hostile campaign against the whole of Number Desk: real processes, a real database, faults, kills and races.

`python -m bench.chaos --help`; bench/README.md explains what it does and what its table means.
"""

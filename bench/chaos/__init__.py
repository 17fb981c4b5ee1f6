"""A hostile campaign against the whole of Number Desk: real processes, a real database, faults, kills and races.

`python -m bench.chaos --help`; what it does and what its table says stands in bench/README.md.
"""

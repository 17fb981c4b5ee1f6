"""Django's PostgreSQL engine with an end to waiting for an answer: see base.py."""

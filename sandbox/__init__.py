"""A stand-in for the IdentityCall API over real HTTP, for practice and for tests; nothing real is bought."""

"""A stand-in for the IdentityCall API over real HTTP, for practice and tests. Nothing real is bought."""

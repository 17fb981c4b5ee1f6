"""What `bench.buying` measures with: a stage of real processes, and orders on it."""

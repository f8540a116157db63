"""Which stores a run uses: the environment, and what a class or block declares."""

"""The lifecycle: what the run uses, the scope stack on it, and the end of both. No SQL, no server."""

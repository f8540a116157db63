"""One sample suite, and what runs it under every runner."""

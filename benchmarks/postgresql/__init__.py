"""What a reset costs on PostgreSQL, beside the other ways: ``python -m benchmarks.postgresql``."""

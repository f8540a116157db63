from protean import Domain

ordering = Domain(
    root_path=__file__,
    name="Ordering",
    config={
        "databases": {"default": {"provider": "memory"}, "memory": {"provider": "memory"}},
        "brokers": {"default": {"provider": "inline"}},
        "caches": {"default": {"provider": "memory", "TTL": 300}},
        "event_store": {"provider": "memory"},
    },
)

"""Message DB: an event store on PostgreSQL."""

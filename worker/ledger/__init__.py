"""Keep every event and delivery: the only place with SQL."""

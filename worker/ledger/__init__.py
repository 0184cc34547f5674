"""Store every event and delivery. All SQL is in this package."""

"""Import events from files: JSON lines and CSV, each line once."""

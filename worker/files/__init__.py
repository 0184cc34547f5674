"""Events from files: JSON lines and CSV, each line taken once."""

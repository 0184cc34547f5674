"""Map events to Pinterest's format, send them, and read the answers."""

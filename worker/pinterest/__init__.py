"""Turn an event into what Pinterest accepts, send it, and read the answer."""

"""A sample shop, whose pages send events as a real one's would."""

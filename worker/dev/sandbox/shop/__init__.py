"""A sample shop, whose pages send events as those of a real shop do."""

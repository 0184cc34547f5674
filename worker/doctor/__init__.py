"""Check everything that an installation needs, and say what to do about problems."""

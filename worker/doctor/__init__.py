"""Look at everything that a host needs, and say in words what to do."""

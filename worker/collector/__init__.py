"""Accept events over HTTP."""

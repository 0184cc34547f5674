"""Take events over HTTP."""

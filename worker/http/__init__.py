"""Reach other servers over HTTP: in time, and only where it is allowed."""

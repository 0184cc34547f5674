"""Readiness checks, metrics and traces of the service."""

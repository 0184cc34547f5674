"""Serve the Management API."""

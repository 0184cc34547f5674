"""Outgoing HTTP requests with a total deadline, and a guard against private addresses."""

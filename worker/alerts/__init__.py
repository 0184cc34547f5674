"""Decide what the person on call has to know, and tell it."""

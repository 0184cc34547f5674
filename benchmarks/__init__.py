"""Reproducible comparisons against the alternatives: ``python -m benchmarks ROW``."""

"""Celery tasks: thin wrappers around `worker.pipeline`."""

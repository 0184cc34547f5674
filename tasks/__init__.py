"""The Celery tasks: arguments in, one call of a stage, exceptions to retry or park."""

"""Changes to Celery and kombu: bulk tasks, a rate-limited consumer, publishing in bulk."""

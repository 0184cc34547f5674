"""What Celery and kombu do differently here: bulk tasks, steady consumers, publishing many at once."""

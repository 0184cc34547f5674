"""What the service tells of itself: whether it is ready, and how much went through it."""

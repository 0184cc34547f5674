"""The pages for people: set up, watch, repair."""

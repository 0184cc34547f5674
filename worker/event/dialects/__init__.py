"""The shapes of other systems' events, each turned into the shape that the mapping knows."""

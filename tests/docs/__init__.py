"""The documents, held to what is there."""

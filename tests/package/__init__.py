"""The wheel and an installed copy."""

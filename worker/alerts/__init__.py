"""Alert rules, and notices about alerts."""

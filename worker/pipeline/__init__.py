"""What each task does: the way of an event, stage by stage, over ledger and domain."""

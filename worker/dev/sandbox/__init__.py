"""A local replacement for Pinterest: checks the contract strictly, and fails on command."""

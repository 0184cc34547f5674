"""Stand in for Pinterest on this machine: strict about the contract, able to fail on command."""

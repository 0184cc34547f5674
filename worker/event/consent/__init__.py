"""What an event says about consent, in the forms of consent tools."""

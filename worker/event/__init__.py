"""An event as the shop sent it: envelope, identity, consent."""

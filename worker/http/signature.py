"""Sign what goes from server to server."""

import hmac
from hashlib import sha256


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature that stands in X-Signature: HMAC-SHA256 over ``timestamp + "." + raw body``."""
    text = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), text, sha256).hexdigest()

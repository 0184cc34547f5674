"""Signatures of requests between servers."""

import hmac
from hashlib import sha256


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the value of X-Signature: HMAC-SHA256 over ``timestamp + "." + raw body``."""
    text = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), text, sha256).hexdigest()

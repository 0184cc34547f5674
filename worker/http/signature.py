"""Signatures of requests between servers."""

import hmac
from hashlib import sha256


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the value of X-Signature: HMAC-SHA256 over ``timestamp + "." + raw body``."""
    text = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), text, sha256).hexdigest()


WRITE_KEY_PREFIX = "sk_"


def write_key(source_id: str, secret: str) -> str:
    """Return a source's write key for libraries that cannot sign.

    It is derived from the server secret, so it is as secret, and ends with it.
    """
    code = hmac.new(secret.encode(), b"write key." + source_id.encode(), sha256).hexdigest()
    return f"{WRITE_KEY_PREFIX}{source_id}_{code}"

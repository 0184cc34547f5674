"""Take web addresses apart."""

import re
from urllib.parse import SplitResult, urlsplit

# A host name has at most 253 characters, and some more with a user, a password and a port.
_LONGEST_AUTHORITY = 1024
_AUTHORITY_END = re.compile(r"[/?#]")
# urlsplit takes these out of an address before it reads it.
_IGNORED = dict.fromkeys(map(ord, "\t\r\n"))


def split_address(url: str) -> SplitResult:
    """Return the parts of an address, in time linear in its length.

    Raises:
        ValueError: it is no address, or its host is not ASCII and far too long.
    """
    if not url.isascii():
        # urlsplit normalises the host, and marks that combine cost quadratic time there.
        authority = url.translate(_IGNORED).partition("//")[2][: _LONGEST_AUTHORITY + 1]
        if len(_AUTHORITY_END.split(authority, maxsplit=1)[0]) > _LONGEST_AUTHORITY:
            raise ValueError("the host is too long")
    return urlsplit(url)

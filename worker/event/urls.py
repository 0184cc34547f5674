"""Split URLs safely."""

import re
from urllib.parse import SplitResult, urlsplit

# A host name has at most 253 characters; a user, a password and a port add some.
_LONGEST_AUTHORITY = 1024
_AUTHORITY_END = re.compile(r"[/?#]")
# urlsplit removes these characters before it parses.
_IGNORED = dict.fromkeys(map(ord, "\t\r\n"))


def split_address(url: str) -> SplitResult:
    """Split a URL, in time linear in its length.

    Raises:
        ValueError: the URL is invalid, or its host is not ASCII and too long.
    """
    if not url.isascii():
        # urlsplit normalises the host, which takes quadratic time on combining marks.
        authority = url.translate(_IGNORED).partition("//")[2][: _LONGEST_AUTHORITY + 1]
        if len(_AUTHORITY_END.split(authority, maxsplit=1)[0]) > _LONGEST_AUTHORITY:
            raise ValueError("the host is too long")
    return urlsplit(url)

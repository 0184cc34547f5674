"""Read the purposes of IAB Europe's Transparency and Consent Framework (TCF), version 2."""

import base64
import binascii
import re
from collections.abc import Mapping

# Where the consented purposes are in the core segment, in bits.
_PURPOSES_START, _PURPOSES = 152, 24
_SHORTEST_BITS = 213
_VERSION = 2
_TC_STRING = re.compile(r"C[A-Za-z0-9_-]{35,4000}(?:\.[A-Za-z0-9_-]{1,4000}){0,4}")
# The header of a GPP string that holds only a TC string.
_GPP_WITH_TC_STRING = "DBABMA~"

# As Google maps TCF to its consent mode: storage is purpose 1, ad user data 1 and 7, ad personalisation 3 and 4.
# For the other categories, the purposes that have their description.
NEEDED: Mapping[str, frozenset[int]] = {
    "advertising": frozenset((1, 3, 4, 7)),
    "marketing": frozenset((1, 3, 4, 7)),
    "analytics": frozenset((1, 8, 9)),
    "functional": frozenset((1, 5, 6)),
}

# Didomi's names of the purposes.
PURPOSE_NAMES: Mapping[str, int] = {
    "cookies": 1,
    "selectbasicads": 2,
    "createadsprofile": 3,
    "selectpersonalizedads": 4,
    "createcontentprofile": 5,
    "selectpersonalizedcontent": 6,
    "measureadperformance": 7,
    "measurecontentperformance": 8,
    "marketresearch": 9,
    "improveproducts": 10,
}


def consented_purposes(text: str) -> frozenset[int] | None:
    """Return the purposes that a TC string consents to; None if the text is not a TC string of version 2.

    A GPP string counts if its only section is a TC string.
    """
    text = text.removeprefix(_GPP_WITH_TC_STRING)
    if not _TC_STRING.fullmatch(text):
        return None
    core = text.partition(".")[0]
    try:
        decoded = base64.urlsafe_b64decode(core + "=" * (-len(core) % 4))
    except binascii.Error:
        return None
    length = len(decoded) * 8
    bits = int.from_bytes(decoded)
    if length < _SHORTEST_BITS or bits >> (length - 6) != _VERSION:
        return None
    purposes = bits >> (length - _PURPOSES_START - _PURPOSES)
    return frozenset(number for number in range(1, _PURPOSES + 1) if purposes >> (_PURPOSES - number) & 1)

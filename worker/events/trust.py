"""How far the sender of an event is known."""

from enum import IntEnum


class Trust(IntEnum):
    """Say how an event came in.

    ``PUBLIC`` events carry the pipeline key, which every page of the shop shows to everybody. ``SIGNED`` events
    carry a signature made with the server secret, or come from a file that the operator imports.
    """

    PUBLIC = 0
    SIGNED = 1

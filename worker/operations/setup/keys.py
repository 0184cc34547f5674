"""Rotate the encryption keys."""

from worker.operations.caller import Caller


def rotate_keys(caller: Caller) -> int:
    """Wrap every data key with the first key of ENCRYPTION_KEY; return how many that changed.

    Events may be accepted and delivered meanwhile: no sealed content changes.

    Raises:
        SealError: ENCRYPTION_KEY lacks a key that the ledger needs.
    """
    with caller.changing() as change:
        count = change.vault.rewrap(change.connection)
        if count:
            change.record("keys.rotate", "data keys", {"wrapped": [None, count]})
        return count

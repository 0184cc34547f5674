"""Whose fault it is that Pinterest refuses a batch: an event's, or the account's."""

from collections.abc import Sequence
from enum import Enum
from itertools import groupby

from worker.ledger.delivery.batch_history import RelatedBatch
from worker.pinterest.client.answers import ReasonClass, have_same_message

# Why a credential was paused: every part of a batch was refused with the same words.
ACCOUNT_REFUSED = "account_refused"

# So many parts without a common event; a few bad events seldom fall into every one of them.
_PARTS_TO_JUDGE = 8
# A smaller batch has no eight parts to judge by.
_PARTS_TO_JUDGE_A_SMALL_ONE = 4


class Culprit(Enum):
    """Say whose fault a refusal is."""

    EVENTS = "events"
    ACCOUNT = "account"
    # Some part has not been asked about yet.
    OPEN = "open"


def find_culprit(family: Sequence[RelatedBatch]) -> Culprit:
    """Judge a halved batch by the parts that it has come to.

    It is the account's fault when all eight parts of the third halving (of a batch of four to seven events:
    all four of the second) were refused, no part of the family was delivered, and every refusal said the same
    words. That takes 15 requests at most.

    A systematic mistake in at least eight events looks the same, if one falls into every part: then a hand
    resumes the account, and the family is judged no more, so that it is halved down to its bad events. Less
    than four events are not judged: they fail one by one.
    """
    first = family[0]
    refusals = [_refusals(part) for part in family]
    spoken = [reason for reasons in refusals for reason in reasons]
    judged_before = any(reason_class == ACCOUNT_REFUSED for part in family for reason_class, _ in part.tries)
    delivered = any(part.has_delivered for part in family)
    if first.events < _PARTS_TO_JUDGE_A_SMALL_ONE or judged_before or delivered or not _agree(spoken):
        return Culprit.EVENTS
    needed = _PARTS_TO_JUDGE if first.events >= _PARTS_TO_JUDGE else _PARTS_TO_JUDGE_A_SMALL_ONE
    for _, parts in groupby(family, key=lambda part: part.depth):
        generation = list(parts)
        if len(generation) >= needed:
            if all(_refusals(part) for part in generation):
                return Culprit.ACCOUNT
            break
    waiting = any(part.is_live and not _refusals(part) for part in family)
    return Culprit.OPEN if waiting else Culprit.EVENTS


def _refusals(part: RelatedBatch) -> list[str]:
    return [reason for reason_class, reason in part.tries if reason_class == ReasonClass.MALFORMED]


def _agree(spoken: Sequence[str]) -> bool:
    # A single refusal agrees with itself: nothing is known yet.
    return len(spoken) < 2 or have_same_message(spoken)

"""Find out why Pinterest refuses a batch: bad events, or the account."""

from collections.abc import Sequence
from enum import Enum
from itertools import groupby

from worker.ledger.delivery.batch_history import RelatedBatch
from worker.pinterest.client.decisions import ReasonClass, have_same_message

# Reason class of a pause: every part of a batch was refused with the same message.
ACCOUNT_REFUSED = "account_refused"

# Disjoint parts that must all be refused. A few bad events rarely fall into each of them.
_PARTS_NEEDED = 8
# For batches of four to seven events.
_PARTS_NEEDED_SMALL_BATCH = 4


class Culprit(Enum):
    """Name the cause of a refusal."""

    EVENTS = "events"
    ACCOUNT = "account"
    # Pinterest has not answered for some part yet.
    UNDECIDED = "undecided"


def find_culprit(family: Sequence[RelatedBatch]) -> Culprit:
    """Decide from the parts of a halved batch, ordered by depth, whether its events or the account are at fault.

    The account is at fault when all eight parts of the third halving were refused (all four parts of the
    second for a batch of four to seven events), no part was delivered, and all refusals have the same message.
    That takes at most 15 requests.

    A systematic mistake with a bad event in each of the eight parts looks the same. After an operator resumes
    the account, the parts are not judged again, so halving continues down to the bad events. Batches of less
    than four events are not judged: their events fail individually.
    """
    first = family[0]
    refusals = [_refusals(part) for part in family]
    messages = [reason for reasons in refusals for reason in reasons]
    judged_before = any(reason_class == ACCOUNT_REFUSED for part in family for reason_class, _ in part.tries)
    delivered = any(part.has_delivered for part in family)
    if first.events < _PARTS_NEEDED_SMALL_BATCH or judged_before or delivered or not _agree(messages):
        return Culprit.EVENTS
    needed = _PARTS_NEEDED if first.events >= _PARTS_NEEDED else _PARTS_NEEDED_SMALL_BATCH
    for _, parts in groupby(family, key=lambda part: part.depth):
        generation = list(parts)
        if len(generation) >= needed:
            if all(_refusals(part) for part in generation):
                return Culprit.ACCOUNT
            break
    waiting = any(part.is_live and not _refusals(part) for part in family)
    return Culprit.UNDECIDED if waiting else Culprit.EVENTS


def _refusals(part: RelatedBatch) -> list[str]:
    return [reason for reason_class, reason in part.tries if reason_class == ReasonClass.MALFORMED]


def _agree(messages: Sequence[str]) -> bool:
    # A single refusal proves nothing yet.
    return len(messages) < 2 or have_same_message(messages)

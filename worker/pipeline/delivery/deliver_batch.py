"""Send a batch to Pinterest and record the result."""

from collections.abc import Sequence

from sqlalchemy import Connection

from worker import logs
from worker.ledger.delivery import batches
from worker.ledger.delivery.batches import MAX_TOKEN_WAIT_SECONDS, Member, Postponed, StartedBatch
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.schema import Arrival
from worker.ledger.setup import ad_accounts
from worker.ledger.vault import MissingKeyError, SealError
from worker.pinterest.client.answer_decisions import ReasonClass
from worker.pinterest.client.answer_masking import Echo
from worker.pipeline.delivery.apply_decision import (
    DecisionApplier,
    pause_credential,
    split_off_risky,
    split_off_unopened,
)
from worker.pipeline.delivery.delivery_context import DeliveryContext, DeliveryResult, PostponedError
from worker.pipeline.delivery.possible_duplicates import events_at_risk
from worker.pipeline.missing_encryption_key import report_missing_key

# A batch without a slot of `rate_wait_slots` waits at most this long; scheduling it again would take longer.
_MAX_INLINE_WAIT_SECONDS = 0.1

log = logs.of(__name__)

_TOKEN_CANNOT_BE_OPENED = "The stored access token cannot be opened: it was changed."  # noqa: S105
# Another process, or this one after its restart, has the key.
_KEY_WAIT_SECONDS = 30.0


def deliver(context: DeliveryContext, batch_id: int) -> DeliveryResult:
    """Send one batch.

    Safe to repeat: a batch that is not ready, not due or paused is skipped. If its credential uses all of its
    slots in this process, the batch is queued, and gets a new hint when a slot is free.

    Raises:
        PostponedError: the batch must be tried again; call `postpone_delivery` to give it back.
    """
    credential_id = context.read(lambda connection: batches.credential_of(connection, batch_id))
    if credential_id is None:
        return DeliveryResult.SKIPPED
    if not context.limiter.acquire(credential_id, batch_id):
        return DeliveryResult.QUEUED
    start = context.now()
    try:
        return _deliver(context, batch_id)
    finally:
        following = context.limiter.release(credential_id, context.now() - start)
        if following:
            context.hint(following)


def _deliver(context: DeliveryContext, batch_id: int) -> DeliveryResult:
    with context.rate_wait_slots.acquire() as may_wait:
        started = _start(context, batch_id, MAX_TOKEN_WAIT_SECONDS if may_wait else _MAX_INLINE_WAIT_SECONDS)
        if started is None:
            return DeliveryResult.SKIPPED
        due = context.now() + started.wait_seconds
        try:
            members, body, unreadable = _compose(context, started)
            token = _token(context, started)
        except MissingKeyError:
            return _leave_to_others(context, started)
        # The rate limits arrivals at Pinterest, so all preparation comes before the wait.
        wait_seconds = due - context.now()
        if wait_seconds > 0:
            context.sleep(wait_seconds)
    set_apart = _set_apart(context, started, members, unreadable)
    if set_apart is not None or token is None:
        if started.is_probe:
            # Nothing was sent: another batch may probe at once.
            context.write(lambda connection: ad_accounts.end_probe(connection, started.credential_id))
        return set_apart or pause_credential(
            context, started, ReasonClass.NOT_SENDABLE, _TOKEN_CANNOT_BE_OPENED
        )
    answer = context.client.send(started.ad_account_id, token, body, started.test)
    return DecisionApplier(context, started, members, answer, Echo(body)).apply()


def _set_apart(
    context: DeliveryContext, started: StartedBatch, members: Sequence[Member], unreadable: Sequence[Member]
) -> DeliveryResult | None:
    """Set events apart that must not be sent now, and give the others back; None if all may be sent."""
    if not all(member.can_send for member in (*members, *unreadable)):
        return _release_orphans(context, started)
    if unreadable or not members:
        return split_off_unopened(context, started, members, unreadable)
    risky = _sent_before(context, started, members)
    return split_off_risky(context, started, members, risky) if risky else None


def _token(context: DeliveryContext, started: StartedBatch) -> str | None:
    """Return the access token; None where it cannot be opened."""
    vault = context.ledger.vault
    try:
        return context.read(
            lambda connection: ad_accounts.access_token(connection, vault, started.credential_id)
        )
    except MissingKeyError:
        raise
    except SealError:
        return None


def _leave_to_others(context: DeliveryContext, started: StartedBatch) -> DeliveryResult:
    """Give a batch back that this process lacks the key for. No attempt is spent, and no event fails."""
    report_missing_key(context.ledger)
    then = context.now() + _KEY_WAIT_SECONDS

    def give_back(connection: Connection) -> None:
        batches.requeue_batch(connection, started, then, spent=False)
        if started.is_probe:
            ad_accounts.end_probe(connection, started.credential_id)

    context.write(give_back)
    return DeliveryResult.RELEASED


def _release_orphans(context: DeliveryContext, started: StartedBatch) -> DeliveryResult:
    """Give a batch back unsent: some of its events can no longer be sent, because their integration is off or gone."""
    now = context.now()
    context.write(lambda connection: batches.requeue_batch(connection, started, now, spent=False))
    context.hint([started.id])
    return DeliveryResult.RELEASED


def _sent_before(context: DeliveryContext, started: StartedBatch, members: Sequence[Member]) -> list[Member]:
    """Return events that an earlier attempt may have delivered, and that are now too old to send twice safely.

    After an attempt with an unknown outcome, an event can wait long for a paused account, an open breaker or a retry.
    """
    possible = [member for member in members if member.may_have_arrived == Arrival.POSSIBLE]
    return events_at_risk(possible, context.now(), offline=started.offline) if possible else []


def postpone_delivery(context: DeliveryContext, postponed: PostponedError) -> float | None:
    """Give a batch back to the ledger; return the countdown for a Celery retry, None if the ledger schedules it."""
    not_before = context.now() + postponed.wait.seconds
    held = context.write(
        lambda connection: batches.requeue_batch(
            connection,
            postponed.started,
            not_before,
            spent=postponed.spent,
            unreadable=postponed.unreadable,
            reason_class=postponed.reason_class,
        )
    )
    log.info(
        "batch_put_off",
        batch_id=postponed.started.id,
        ad_account=postponed.started.ad_account_id,
        attempt=postponed.started.attempt,
        reason_class=postponed.reason_class,
        seconds=round(postponed.wait.seconds, 1),
        held=held,
    )
    return postponed.wait.seconds if held and postponed.wait.stage == "celery" else None


def _start(context: DeliveryContext, batch_id: int, longest_wait_seconds: float) -> StartedBatch | None:
    def start(connection: Connection) -> StartedBatch | Postponed | None:
        now, lease = context.now(), context.lease_seconds
        started = batches.start_batch(connection, batch_id, lease, now, longest_wait_seconds)
        if not isinstance(started, StartedBatch):
            connection.rollback()
        return started

    started = context.write(start)
    if isinstance(started, Postponed):
        not_before = started.not_before
        context.write(lambda connection: batches.postpone_batch(connection, batch_id, not_before))
        return None
    return started


def _compose(context: DeliveryContext, started: StartedBatch) -> tuple[list[Member], bytes, list[Member]]:
    """Return members, request body and unreadable members; the stored payloads are joined without parsing."""
    members = context.read(lambda connection: batches.batch_members(connection, started.id))
    texts: list[bytes] = []
    readable: list[Member] = []
    unreadable: list[Member] = []
    for member in members:
        try:
            texts.append(context.ledger.vault.open(member.payload, PAYLOAD))
            readable.append(member)
        except MissingKeyError:
            raise
        except SealError:
            unreadable.append(member)
    return readable, b'{"data":[' + b",".join(texts) + b"]}", unreadable

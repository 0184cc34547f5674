"""Send a batch to Pinterest and write down how it ended."""

from collections.abc import Sequence

from sqlalchemy import Connection

from worker import logs
from worker.ledger.delivery import batches, outages
from worker.ledger.delivery.batches import MAX_TOKEN_WAIT_SECONDS, Member, Postponed, StartedBatch
from worker.ledger.delivery.deliveries import PAYLOAD
from worker.ledger.setup import ad_accounts
from worker.ledger.vault import SealError
from worker.pinterest.client.answers import ReasonClass
from worker.pipeline.delivery.reaction import Reaction, pause_credential, split_off_risky, split_off_unopened
from worker.pipeline.delivery.sending import (
    MAX_INLINE_WAIT_SECONDS,
    MAY_HAVE_ARRIVED,
    PARTLY_PROCESSED,
    PostponedError,
    Sender,
    events_at_risk,
)

log = logs.of(__name__)

_TOKEN_CANNOT_BE_OPENED = "The stored access token cannot be opened: is its key still in ENCRYPTION_KEY?"  # noqa: S105


def deliver(sender: Sender, batch_id: int) -> str:
    """Send one batch; return in a word what became of it.

    A batch that is not ready, not due or not running is left alone: any number of messages may name it. One
    whose credential has its share of this process's slots is hinted at again when there is room.

    Raises:
        PostponedError: it has to be tried again, once `put_off` has given it back.
    """
    credential_id = sender.read(lambda connection: batches.credential_of(connection, batch_id))
    if credential_id is None:
        return "left alone"
    if not sender.limiter.acquire(credential_id, batch_id):
        return "left for later"
    began = sender.now()
    try:
        return _deliver(sender, batch_id)
    finally:
        following = sender.limiter.release(credential_id, sender.now() - began)
        if following:
            sender.hint(following)


def _deliver(sender: Sender, batch_id: int) -> str:
    with sender.rate_wait_slots.acquire() as may_wait:
        started = _start(sender, batch_id, MAX_TOKEN_WAIT_SECONDS if may_wait else MAX_INLINE_WAIT_SECONDS)
        if started is None:
            return "left alone"
        due = sender.now() + started.wait_seconds
        everyone, body, broken = _compose(sender, started)
        token = _token(sender, started)
        # The rate is one of arrivals: once its turn has come, nothing but sending is left.
        wait_seconds = due - sender.now()
        if wait_seconds > 0:
            sender.sleep(wait_seconds)
    if broken or not everyone:
        return split_off_unopened(sender, started, everyone, broken)
    risky = _sent_before(sender, started, everyone)
    if risky:
        return split_off_risky(sender, started, everyone, risky)
    if token is None:
        return pause_credential(sender, started, ReasonClass.NOT_SENDABLE, _TOKEN_CANNOT_BE_OPENED)
    answer = sender.client.send(started.ad_account_id, token, body, started.test)
    return Reaction(sender, started, everyone, answer).react()


def _token(sender: Sender, started: StartedBatch) -> str | None:
    """Return the access token; None where it cannot be opened."""
    vault = sender.ledger.vault
    try:
        return sender.read(
            lambda connection: ad_accounts.access_token(connection, vault, started.credential_id)
        )
    except SealError:
        return None


def _sent_before(sender: Sender, started: StartedBatch, everyone: Sequence[Member]) -> list[Member]:
    """Return the events that an earlier try may have brought to Pinterest, and that have grown too old since.

    A batch can wait for long after a try with an unknown outcome: for a resumed account, or a breaker.
    """
    risky = events_at_risk(everyone, sender.now(), offline=started.offline)
    if not risky:
        return []
    tried = sender.read(
        lambda connection: outages.has_attempt_with(
            connection, started.id, MAY_HAVE_ARRIVED, [PARTLY_PROCESSED]
        )
    )
    return risky if tried else []


def postpone_delivery(sender: Sender, postponed: PostponedError) -> float | None:
    """Give a batch back to the ledger; return in how many seconds a message should come, None for never."""
    not_before = sender.now() + postponed.wait.seconds
    held = sender.write(
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


def _start(sender: Sender, batch_id: int, longest_wait_seconds: float) -> StartedBatch | None:
    def start(connection: Connection) -> StartedBatch | Postponed | None:
        now, lease = sender.now(), sender.lease_seconds
        started = batches.start_batch(connection, batch_id, lease, now, longest_wait_seconds)
        if isinstance(started, Postponed):
            connection.rollback()
        return started

    started = sender.write(start)
    if isinstance(started, Postponed):
        not_before = started.not_before
        sender.write(lambda connection: batches.postpone_batch(connection, batch_id, not_before))
        return None
    return started


def _compose(sender: Sender, started: StartedBatch) -> tuple[list[Member], bytes, list[Member]]:
    """Join the stored texts into a body, never parsed again; return last what cannot be opened."""
    everyone = sender.read(lambda connection: batches.batch_members(connection, started.id))
    texts: list[bytes] = []
    good: list[Member] = []
    broken: list[Member] = []
    for one in everyone:
        try:
            texts.append(sender.ledger.vault.open(one.payload, PAYLOAD))
            good.append(one)
        except SealError:
            broken.append(one)
    return good, b'{"data":[' + b",".join(texts) + b"]}", broken

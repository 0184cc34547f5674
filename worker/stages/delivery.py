"""Send a batch to Pinterest and write down how it ended."""

from collections.abc import Sequence

from worker.ledger import accounts, batches, outages
from worker.ledger.batches import Member, Putoff, Started
from worker.ledger.deliveries import PAYLOAD
from worker.ledger.vault import SealError
from worker.pinterest.verdict import ReasonClass
from worker.stages.reaction import Reaction, pause, set_apart_risky, set_apart_unopened
from worker.stages.sending import PostponedError, Sender
from worker.stages.unknown import MAY_HAVE_ARRIVED, PARTLY_PROCESSED, at_risk

TOKEN_CANNOT_BE_OPENED = "The stored access token cannot be opened: is its key still in ENCRYPTION_KEY?"  # noqa: S105


def deliver(sender: Sender, batch_id: int) -> str:
    """Send one batch; return in a word what became of it.

    A batch that is not ready, not due or not running is left alone: any number of messages may name it.

    Raises:
        PostponedError: it has to be tried again, once `put_off` has given it back.
    """
    started = _start(sender, batch_id)
    if started is None:
        return "left alone"
    everyone, body, broken = _compose(sender, started)
    if broken or not everyone:
        return set_apart_unopened(sender, started, everyone, broken)
    risky = _sent_before(sender, started, everyone)
    if risky:
        return set_apart_risky(sender, started, everyone, risky)
    try:
        with sender.ledger.read() as connection:
            token = accounts.token(connection, sender.ledger.vault, started.credential_id)
    except SealError:
        return pause(sender, started, ReasonClass.NOT_SENDABLE, TOKEN_CANNOT_BE_OPENED)
    if started.wait_seconds > 0:
        sender.sleep(started.wait_seconds)
    answer = sender.client.send(started.ad_account_id, token, body, started.test)
    return Reaction(sender, started, everyone, answer).react()


def _sent_before(sender: Sender, started: Started, everyone: Sequence[Member]) -> list[Member]:
    """Return the events that an earlier try may have brought to Pinterest, and that have grown too old since.

    A batch can wait for long after a try with an unknown outcome: for a resumed account, or a breaker.
    """
    risky = at_risk(everyone, sender.now(), offline=started.offline)
    if not risky:
        return []
    with sender.ledger.read() as connection:
        tried = outages.tried_with(connection, started.id, MAY_HAVE_ARRIVED, [PARTLY_PROCESSED])
    return risky if tried else []


def put_off(sender: Sender, postponed: PostponedError) -> float | None:
    """Give a batch back to the ledger; return in how many seconds a message should come, None for never."""
    with sender.ledger.write() as connection:
        held = batches.again(
            connection,
            postponed.started,
            sender.now() + postponed.wait.seconds,
            spent=postponed.spent,
            unreadable=postponed.unreadable,
            reason_class=postponed.reason_class,
        )
    return postponed.wait.seconds if held and postponed.wait.stage == "celery" else None


def _start(sender: Sender, batch_id: int) -> Started | None:
    with sender.ledger.write() as connection:
        started = batches.start(connection, batch_id, sender.lease_seconds, sender.now())
        if isinstance(started, Putoff):
            connection.rollback()
    if isinstance(started, Putoff):
        with sender.ledger.write() as connection:
            batches.put_off(connection, batch_id, started.not_before)
        return None
    return started


def _compose(sender: Sender, started: Started) -> tuple[list[Member], bytes, list[Member]]:
    """Join the stored texts into a body, never parsed again; return last what cannot be opened."""
    with sender.ledger.read() as connection:
        everyone = batches.members(connection, started.id)
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

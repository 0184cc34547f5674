"""Apply the decision on an answer to the ledger."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby

from sqlalchemy import Connection

from worker import logs
from worker.formats import count_text
from worker.ledger.delivery import batch_history, batches
from worker.ledger.delivery.batch_history import RelatedBatch
from worker.ledger.delivery.batches import Attempt, Member, MemberResult, StartedBatch
from worker.ledger.reports import measures
from worker.ledger.setup import ad_accounts, audit_log
from worker.monitoring import tracing
from worker.pinterest.client.answer_decisions import (
    EventResult,
    Halve,
    PauseCredential,
    ReasonClass,
    RetryLater,
    Settle,
    Unreadable,
    decide_batch,
    fail_single,
    have_same_message,
)
from worker.pinterest.client.answer_masking import NOTHING_SENT, Echo
from worker.pinterest.client.breaker import (
    CLOSED_BREAKER,
    Breaker,
    breaker_after_failure,
    is_connection_failure,
)
from worker.pinterest.client.client import Answer
from worker.pinterest.client.retry_delays import Wait, next_wait
from worker.pipeline.delivery.delivery_context import DeliveryContext, DeliveryResult, PostponedError
from worker.pipeline.delivery.possible_duplicates import events_at_risk, ids_without, unknown_outcomes

# Reason class of a pause: every part of a batch was refused with the same message.
_ACCOUNT_REFUSED = "account_refused"

# Disjoint parts that must all be refused. A few bad events rarely fall into each of them.
_PARTS_NEEDED = 8
# For batches of four to seven events.
_PARTS_NEEDED_SMALL_BATCH = 4


class _Culprit(Enum):
    """Name the cause of a refusal."""

    EVENTS = "events"
    ACCOUNT = "account"
    # Pinterest has not answered for some part yet.
    UNDECIDED = "undecided"


def _find_culprit(family: Sequence[RelatedBatch]) -> _Culprit:
    """Decide from the parts of a halved batch, ordered by depth, whether its events or the account are at fault.

    The account is at fault when all eight parts of the third halving were refused (all four parts of the
    second for a batch of four to seven events), no part was delivered, and all refusals have the same message.
    That takes at most 15 requests.

    A systematic mistake with a bad event in each of the eight parts looks the same. After an operator resumes
    the account, the parts are not judged again, so halving continues down to the bad events. Batches of fewer
    than four events are not judged: their events fail individually.
    """
    first = family[0]
    refusals = [_refusals(part) for part in family]
    messages = [reason for reasons in refusals for reason in reasons]
    judged_before = any(reason_class == _ACCOUNT_REFUSED for part in family for reason_class, _ in part.tries)
    delivered = any(part.has_delivered for part in family)
    if first.events < _PARTS_NEEDED_SMALL_BATCH or judged_before or delivered or not _agree(messages):
        return _Culprit.EVENTS
    minimum = _PARTS_NEEDED if first.events >= _PARTS_NEEDED else _PARTS_NEEDED_SMALL_BATCH
    for _, parts in groupby(family, key=lambda part: part.depth):
        generation = list(parts)
        if len(generation) >= minimum:
            if all(_refusals(part) for part in generation):
                return _Culprit.ACCOUNT
            break
    any_waiting = any(part.is_live and not _refusals(part) for part in family)
    return _Culprit.UNDECIDED if any_waiting else _Culprit.EVENTS


def _refusals(part: RelatedBatch) -> list[str]:
    return [reason for reason_class, reason in part.tries if reason_class == ReasonClass.MALFORMED]


def _agree(messages: Sequence[str]) -> bool:
    # A single refusal proves nothing yet.
    return len(messages) < 2 or have_same_message(messages)


log = logs.of(__name__)

_ACTOR = "delivery"


@dataclass(frozen=True, slots=True)
class DecisionApplier:
    """Apply the decision on one answer to its batch."""

    context: DeliveryContext
    started: StartedBatch
    members: Sequence[Member]
    answer: Answer
    sent: Echo = NOTHING_SENT

    def apply(self) -> DeliveryResult:
        self._measure()
        decision = decide_batch(
            self.answer,
            len(self.members),
            unreadable_tries=self.started.unreadable_answers,
            sent=self.sent,
        )
        self._move_breaker(
            met_trouble=isinstance(decision, RetryLater) and is_connection_failure(decision.reason_class)
        )
        match decision:
            case Settle():
                return self._settle(decision)
            case Halve():
                return self._halve(decision)
            case PauseCredential():
                return self._pause(decision)
            case RetryLater():
                return self._again(decision)
            case Unreadable():
                reason_class = ReasonClass.UNREADABLE
                retry = RetryLater(
                    reason_class, decision.reason, None, counts_attempt=True, outcome_known=False
                )
                return self._again(retry, unreadable=True)

    def _measure(self) -> None:
        meter = self.context.meter
        meter.observe(measures.REQUEST_SECONDS, self.answer.seconds, _status_class(self.answer.status))
        meter.observe(measures.BATCH_EVENTS, len(self.members))
        if (tracer := tracing.tracer()) is not None:
            tracer.record(
                "delivery.send",
                [tracing.Request(member.source_id, member.accepted_at) for member in self.members],
                time.time() - self.answer.seconds,
                batch_id=self.started.id,
                attempt=self.started.attempt,
                status=_status_class(self.answer.status),
            )

    def _move_breaker(self, *, met_trouble: bool) -> None:
        started, now = self.started, self.context.now()
        if not met_trouble and started.breaker_failures == 0:
            return

        def move(connection: Connection) -> Breaker | None:
            # Locked: of failures that are counted at the same time, none may be lost.
            account = ad_accounts.find_credential(connection, started.credential_id, locked=True)
            before, after = Breaker(account.breaker_failures, account.breaker_open_until), CLOSED_BREAKER
            if met_trouble:
                policy = self.context.breaker_policy
                after = breaker_after_failure(policy, before, now, probe=started.is_probe)
            if after == before:
                return None
            ad_accounts.set_breaker(connection, started.credential_id, after.failures, after.open_until)
            return after

        after = self.context.write(move)
        if after is None:
            return
        if after.open_until is not None or started.is_probe:
            word = "closed" if after.open_until is None else "open"
            seconds = round(after.open_until - now) if after.open_until is not None else 0
            log.warning("breaker", ad_account=started.ad_account_id, state=word, seconds=seconds)

    def _settle(self, decision: Settle) -> DeliveryResult:
        pairs = zip(self.members, decision.results, strict=True)
        endings = [
            _ending(member, result) for member, result in pairs if not result.delivered or result.warning
        ]
        failed = [ending for ending in endings if ending.reason_class]
        if failed:
            first = failed[0]
            events = count_text(len(self.members), "event")
            message = f"{len(failed)} of {events} failed, the first with: {first.reason}"
            unclear = {ending.id for ending in failed if ending.reason_class == ReasonClass.UNREADABLE}
            self._note(
                first.reason_class or "", message, [member for member in self.members if member.id in unclear]
            )
        return self._finish(endings)

    def _halve(self, decision: Halve) -> DeliveryResult:
        self._note(decision.reason_class, decision.reason, () if decision.outcome_known else self.members)
        fault = _find_culprit(
            self.context.read(lambda connection: batch_history.related_batches(connection, self.started.id))
        )
        if fault is _Culprit.ACCOUNT:
            message = f"Every part of a batch was refused with the same message: {decision.reason}"
            return self._pause(PauseCredential(_ACCOUNT_REFUSED, message))
        if len(self.members) == 1:
            return self._fail_single(decision, fault)
        risky = [] if decision.outcome_known else self._at_risk(self.context.now())
        ids = ids_without(self.members, risky)
        middle = (len(ids) + 1) // 2
        parts = [part for part in (ids[:middle], ids[middle:]) if part]
        return self._split(parts, self.context.now(), unknown_outcomes(risky, decision.reason), self.started)

    def _fail_single(self, decision: Halve, fault: _Culprit) -> DeliveryResult:
        """Fail the event of a batch of one, unless the account may still be at fault."""
        if fault is _Culprit.UNDECIDED:
            policy, dice, now = self.context.policy, self.context.dice, self.context.now()
            wait = next_wait(policy, self.started.attempt, self.started.first_tried_at, now, None, dice)
            if wait.stage != "over":
                raise PostponedError(self.started, wait, reason_class=decision.reason_class)
        return self._finish([_ending(self.members[0], fail_single(decision).results[0])])

    def _pause(self, decision: PauseCredential) -> DeliveryResult:
        self._note(decision.reason_class, decision.reason)
        return pause_credential(self.context, self.started, decision.reason_class, decision.reason)

    def _again(self, decision: RetryLater, *, unreadable: bool = False) -> DeliveryResult:
        self._note(decision.reason_class, decision.reason, () if decision.outcome_known else self.members)
        wait = self._wait(decision)
        then = self.context.now() + wait.seconds
        if decision.reason_class == ReasonClass.RATE_LIMITED:
            account = self.started.ad_account
            self.context.write(lambda connection: ad_accounts.hold_requests_until(connection, account, then))
        if wait.stage == "over":
            return self._finish([_failed_ending(member, decision) for member in self.members])
        risky = [] if decision.outcome_known else self._at_risk(then)
        if not risky:
            raise PostponedError(
                self.started, wait, decision.counts_attempt, unreadable, decision.reason_class
            )
        ids = ids_without(self.members, risky)
        tried = replace(
            self.started,
            attempts_spent=self.started.attempts_spent + int(decision.counts_attempt),
            unreadable_answers=self.started.unreadable_answers + int(unreadable),
        )
        return self._split([ids] if ids else [], then, unknown_outcomes(risky, decision.reason), tried)

    def _wait(self, decision: RetryLater) -> Wait:
        attempts = self.started.attempts_spent + int(decision.counts_attempt)
        first_tried_at, now = self.started.first_tried_at, self.context.now()
        policy, dice = self.context.policy, self.context.dice
        return next_wait(policy, max(attempts, 1), first_tried_at, now, decision.after_seconds, dice)

    def _at_risk(self, then: float) -> list[Member]:
        return events_at_risk(self.members, then, offline=self.started.offline)

    def _split(
        self,
        parts: Sequence[Sequence[int]],
        not_before: float,
        endings: Sequence[MemberResult],
        parent: StartedBatch,
    ) -> DeliveryResult:
        return _replace_batch(self.context, parent, self.members, parts, endings, not_before)

    def _finish(self, endings: Sequence[MemberResult]) -> DeliveryResult:
        now = self.context.now()
        held = self.context.write(
            lambda connection: batches.settle_batch(connection, self.started, self.members, endings, now)
        )
        failed = sum(ending.reason_class is not None for ending in endings)
        _log_settled(self.started, len(self.members) - failed, failed, held=held)
        return DeliveryResult.SETTLED if held else DeliveryResult.LEASE_LOST

    def _note(self, reason_class: str, reason: str, may_have_arrived: Sequence[Member] = ()) -> None:
        attempt = Attempt(self.context.now(), self.answer.seconds, self.answer.status, reason_class, reason)
        self.context.write(
            lambda connection: batches.record_attempt(connection, self.started, attempt, may_have_arrived)
        )


def _status_class(status: int | None) -> str:
    """Return "429", "2xx" to "5xx", or "none" without a status."""
    if status is None:
        return "none"
    return "429" if status == 429 else f"{status // 100}xx"


def pause_credential(
    context: DeliveryContext, started: StartedBatch, reason_class: str, reason: str
) -> DeliveryResult:
    """Pause the credential of a batch, and give the batch back without spending an attempt."""
    now = context.now()

    def stop(connection: Connection) -> None:
        if ad_accounts.pause_credential(connection, started.credential_id, reason_class, reason, _ACTOR, now):
            changes = {"class": [None, reason_class], "reason": [None, reason]}
            audit_log.append_audit_entry(
                connection, now, _ACTOR, "account.pause", started.ad_account_id, changes
            )
        batches.requeue_batch(connection, started, now, spent=False)

    context.write(stop)
    log.error("account_paused", ad_account=started.ad_account_id, reason_class=str(reason_class))
    return DeliveryResult.PAUSED


def split_off_unopened(
    context: DeliveryContext, started: StartedBatch, readable: Sequence[Member], unreadable: Sequence[Member]
) -> DeliveryResult:
    """Fail the events that cannot be opened, and move the others to a new batch."""
    reason = "The stored event cannot be opened: it was changed."
    endings = [MemberResult(member.id, "unopened", reason) for member in unreadable]
    parts = [[member.id for member in readable]] if readable else []
    return _replace_batch(context, started, [*readable, *unreadable], parts, endings, context.now())


def split_off_risky(
    context: DeliveryContext, started: StartedBatch, members: Sequence[Member], risky: Sequence[Member]
) -> DeliveryResult:
    """Fail the events that could count twice until an operator decides, and move the others to a new batch."""
    ids = ids_without(members, risky)
    endings = unknown_outcomes(risky, "An earlier try had no clear answer.")
    return _replace_batch(context, started, members, [ids] if ids else [], endings, context.now())


def _replace_batch(
    context: DeliveryContext,
    started: StartedBatch,
    members: Sequence[Member],
    parts: Sequence[Sequence[int]],
    endings: Sequence[MemberResult],
    not_before: float,
) -> DeliveryResult:
    """Replace a batch by smaller ones, and apply the endings of the members that are in none of them."""
    now = context.now()
    new_ids = context.write(
        lambda connection: batches.split_batch(connection, started, members, parts, endings, now, not_before)
    )
    if new_ids is None:
        return DeliveryResult.LEASE_LOST
    _log_settled(started, 0, len(endings), held=True)
    if not_before <= context.now():
        context.hint(new_ids)
    return DeliveryResult.SPLIT if new_ids else DeliveryResult.SETTLED


def _ending(member: Member, result: EventResult) -> MemberResult:
    if result.delivered:
        return MemberResult(member.id, None, None, result.warning or None)
    return MemberResult(member.id, result.reason_class, result.reason, result.warning or None)


def _failed_ending(member: Member, decision: RetryLater) -> MemberResult:
    return MemberResult(member.id, decision.reason_class, decision.reason)


def _log_settled(started: StartedBatch, delivered: int, failed: int, *, held: bool) -> None:
    log.info(
        "batch_settled",
        batch_id=started.id,
        ad_account=started.ad_account_id,
        attempt=started.attempt,
        delivered=delivered,
        failed=failed,
        held=held,
    )

"""Test an integration's connection to Pinterest.

NotFoundError is raised for an object that does not exist.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from worker.ledger.setup import ad_accounts, sources
from worker.operations.caller import Caller
from worker.operations.setup.integrations import find_integration
from worker.pinterest.client.answer_decisions import (
    BatchDecision,
    Halve,
    PauseCredential,
    ReasonClass,
    Settle,
    decide_batch,
)
from worker.pinterest.client.client import Answer, PinterestClient, is_pinterest

_DEADLINE_SECONDS = 10.0

Mark = Literal["good", "bad", "unknown"]


@dataclass(frozen=True, slots=True)
class _PartResult:
    """Hold the result for the token, the ad account or the payload."""

    what: str
    mark: Mark
    words: str


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """Hold the result of a test: one sentence for the whole, and one for each part."""

    sentence: str
    findings: tuple[_PartResult, ...]
    answer: str

    @property
    def is_good(self) -> bool:
        return all(finding.mark == "good" for finding in self.findings)


def send_test_event(
    base_url: str, ad_account_id: str, access_token: str, domain: str, now: float
) -> ConnectionReport:
    """Send one event that Pinterest checks and does not record."""
    client = PinterestClient(
        base_url, deadline_seconds=_DEADLINE_SECONDS, read_timeout_seconds=_DEADLINE_SECONDS
    )
    body = json.dumps({"data": [_sample_event(domain, now)]}).encode()
    report = _interpret_answer(client.send(ad_account_id, access_token, body, test=True), ad_account_id)
    if is_pinterest(base_url):
        return report
    return replace(report, answer=f"{report.answer}, from the sandbox at {base_url}, not from Pinterest")


def _sample_event(domain: str, now: float) -> Mapping[str, Any]:
    """Return an event of no real person, with an IP address reserved for documentation."""
    return {
        "event_name": "page_visit",
        "action_source": "web",
        "event_time": int(now),
        "event_id": f"test_{secrets.token_hex(8)}",
        "event_source_url": f"https://{domain}/",
        "user_data": {
            "client_ip_address": "203.0.113.50",
            "client_user_agent": "Mozilla/5.0 (connection test)",
        },
    }


def _interpret_answer(answer: Answer, ad_account_id: str) -> ConnectionReport:
    """Interpret Pinterest's answer to the test event."""
    decision = decide_batch(answer, 1)
    sentence, marks = _read(decision)
    words = _WORDS | {"account": tuple(text.format(ad_account_id) for text in _WORDS["account"])}
    findings = tuple(
        _PartResult(part.capitalize(), mark, words[part][_ORDER[mark]])
        for part, mark in zip(("token", "account", "payload"), marks, strict=True)
    )
    status = f"HTTP {answer.status}" if answer.status else "No answer"
    return ConnectionReport(sentence, findings, f"{status} after {answer.seconds:.1f} s")


_ORDER: dict[Mark, int] = {"good": 0, "bad": 1, "unknown": 2}
_WORDS = {
    "token": (
        "Valid, and allowed to send events.",
        "Invalid, expired, or without the scope ads:write.",
        "Not checked.",
    ),
    "account": (
        "Ad account {} exists, and the token may use it.",
        "Ad account {} does not exist, is blocked, or the token may not use it.",
        "Ad account {} was not checked.",
    ),
    "payload": (
        "Pinterest accepted the test event and recorded nothing.",
        "Pinterest rejected the test event.",
        "The test event was not checked.",
    ),
}

_ALL_GOOD: tuple[Mark, Mark, Mark] = ("good", "good", "good")
_NOT_TAKEN: tuple[Mark, Mark, Mark] = ("good", "good", "bad")
_UNKNOWN: tuple[Mark, Mark, Mark] = ("unknown", "unknown", "unknown")
# Pinterest looks at the token first, then at the account, then at the events.
_MARKS_OF_PAUSES: dict[str, tuple[Mark, Mark, Mark]] = {
    ReasonClass.UNAUTHORIZED: ("bad", "unknown", "unknown"),
    ReasonClass.FORBIDDEN: ("good", "bad", "unknown"),
    ReasonClass.NO_SUCH_ACCOUNT: ("unknown", "bad", "unknown"),
    ReasonClass.ACCOUNT_BLOCKED: ("good", "bad", "unknown"),
}


def _read(decision: BatchDecision) -> tuple[str, tuple[Mark, Mark, Mark]]:
    if isinstance(decision, Settle):
        (result,) = decision.results
        if result.delivered:
            warning = f" Its warning: {result.warning}" if result.warning else ""
            return f"The connection works.{warning}", _ALL_GOOD
        return f"Pinterest refused the test event: {result.reason}", _NOT_TAKEN
    if isinstance(decision, Halve):
        return f"Pinterest refused the test event: {decision.reason}", _NOT_TAKEN
    if isinstance(decision, PauseCredential):
        return f"Pinterest refused: {decision.reason}", _MARKS_OF_PAUSES.get(decision.reason_class, _UNKNOWN)
    return f"The connection could not be tested: {decision.reason}", _UNKNOWN


def check_connection(caller: Caller, integration_id: str, api_url: str) -> ConnectionReport:
    """Send one test event, which Pinterest checks and does not record; takes up to 10 seconds."""
    with caller.ledger.read() as connection:
        integration = find_integration(connection, integration_id)
        token = ad_accounts.access_token(connection, caller.ledger.vault, integration.credential_id)
        source = sources.load_source(connection, integration.source_id)
    domain = next(iter(source.domains), "example.com") if source else "example.com"
    return send_test_event(api_url, integration.ad_account_id, token, domain, caller.now)

"""Texts of the pages: names of states, reasons and actions."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from markupsafe import Markup

from worker.event.problem_texts import problem_text
from worker.event.times import iso
from worker.formats import amount_text

# Notices after an action. The URL carries only the key.
NOTICES = {
    "saved": "Saved.",
    "integration-added": "Integration saved. Test the connection to check it with Pinterest.",
    "integration-deleted": "Integration deleted.",
    "signed-in": "Signed in. Pick the ad account whose events are delivered.",
    "connected-partly": "Signed in, but without ads:write: Pinterest creates no token for events. Enter one in the "
    "form, or sign in again and give all access.",
    "connected": "Connected. Pinterest's Event Quality Score appears under Match quality within minutes.",
    "connected-to-read": "Connected, but without ads:write: the token for events is unchanged.",
    "connected-with-token": "Connected, with a new long-lived token for events.",
    "enabled": "Integration on: new events are delivered.",
    "disabled": "Integration off: new events are not delivered. Waiting events remain.",
    "paused": "Paused: events for this ad account are kept and wait.",
    "resumed": "Resumed: waiting events are sent within seconds.",
    "source-deleted": "Source deleted.",
    "rotated": "New pipeline key created. Replace the snippet in your pages before the old key expires.",
    "debugging": "Debugging on: new events are listed below. They are stored whole and encrypted.",
    "debugging-ended": "Debugging off. The stored events are deleted.",
    "revoked": "Token revoked. Its sessions are signed out.",
    "password-changed": "Password changed. Sign in with the new one.",
    "user-removed": "User removed and signed out.",
    "user-changed": "Saved.",
    "mapped": "Saved: new events of this name are sent as checkout.",
    "marked": "State changed.",
    "unparked": "Events that were set aside are processed again within two minutes.",
    "signed-out": "You are signed out.",
}

# The name and the meaning of each state of a delivery.
STATES = {
    "pending": ("pending", "Waits for its batch."),
    "in_flight": ("in flight", "Its batch is being sent, or waits to be sent."),
    "delivered": ("delivered", "Pinterest accepted it."),
    "tested": ("tested", "Test mode: Pinterest validated it and recorded nothing."),
    "failed": (
        "failed",
        "Not delivered. It is kept with the reason until its retention ends.",
    ),
    "filtered": ("filtered", "Not sent: consent is missing, or a crawler sent it."),
    "duplicate": ("duplicate", "Not sent: the same event was received before."),
    "dropped": ("dropped", "Not sent: a refund, a rule of the integration or an option of the source."),
    "discarded": ("discarded", "Discarded manually."),
    "erased": ("erased", "Erased at the person's request."),
}

# Outcomes of events that are kept for debugging.
INPUTS = {
    "mapped": "was mapped to deliveries",
    "consumed": "describes its visitor",
    "without_destination": "was not delivered, because its source has no enabled integration",
}

# The actions of the audit log.
_ACTION_NAMES = {
    "account.pause": "paused sending",
    "account.rate": "changed the rate",
    "account.resume": "resumed sending",
    "explain.show_personal": "viewed personal data in an explanation",
    "failed.discard": "discarded failed deliveries",
    "failed.mark": "changed the state of a group of failures",
    "failed.retry": "retried failed deliveries",
    "failed.show_payload": "viewed a payload",
    "pinterest.connect": "connected with Pinterest",
    "integration.change": "changed an integration",
    "integration.create": "added an integration",
    "integration.delete": "deleted an integration",
    "keys.rotate": "rotated the encryption keys",
    "orders.record": "recorded the shop's orders",
    "parked.retry": "processed events again that were set aside",
    "pending.discard": "discarded waiting deliveries",
    "pending.hand_over": "moved waiting deliveries to another integration",
    "person.allow": "ended a person's suppression",
    "person.erase": "erased a person",
    "person.export": "exported a person's data",
    "person.suppress": "erased and suppressed a person",
    "session.close": "signed out",
    "session.open": "signed in",
    "source.change": "changed a source",
    "source.create": "added a source",
    "source.debug": "turned debugging on or off",
    "source.delete": "deleted a source",
    "source.rotate_key": "created a pipeline key",
    "source.rotate_secret": "created a server secret",
    "token.create": "created a token",
    "token.revoke": "revoked a token",
    "user.change": "changed a user",
    "user.create": "added a user",
    "user.remove": "removed a user",
}

# The audit log's page shows this many items of a list.
_MOST_ITEMS = 12

# A longer name of an ad account is cut.
_LONGEST_NAME = 60

# A note names this many time zones.
_MOST_ZONES = 3

# Shown for a missing value.
_NOTHING = "none"

# How much of a time is shown, in UTC; `ui.js` writes the same in the viewer's zone.
_TIME_FORMATS = {
    "full": "%Y-%m-%d %H:%M:%S UTC",
    "minute": "%Y-%m-%d %H:%M UTC",
    "clock": "%H:%M",
    "hour": "%m-%d %H:%M",
    "day": "%Y-%m-%d",
}


def time_tag(seconds: float | None, shown: str = "full") -> Markup:
    """Write Unix seconds as a time in UTC that a script turns into the viewer's zone."""
    if seconds is None:
        return Markup.escape(_NOTHING)
    text = datetime.fromtimestamp(seconds, UTC).strftime(_TIME_FORMATS[shown])
    return Markup('<time datetime="{}" data-shown="{}">{}</time>').format(iso(seconds), shown, text)


def with_id(names: Mapping[str, str], ad_account_id: str | None) -> str:
    """Write an id with its name: "Shop (549)". A name may be shared, so the id is always shown."""
    if not ad_account_id:
        return _NOTHING
    name = names.get(ad_account_id, ad_account_id)
    name = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME].rstrip()}…"
    return ad_account_id if name == ad_account_id else f"{name} ({ad_account_id})"


def day_note(zones: Collection[str]) -> str:
    """Say in which time zones the days of a chart or a table begin."""
    names = sorted(zones)
    if len(names) <= 1:
        return f"Days begin at midnight in {names[0] if names else 'UTC'}."
    more = f" and {len(names) - _MOST_ZONES} more" if len(names) > _MOST_ZONES else ""
    return f"Days begin at midnight of each source's time zone: {', '.join(names[:_MOST_ZONES])}{more}."


def change_of(now: float, before: float) -> str:
    """Write how a count differs from the one before: "+12 %"."""
    if not before:
        return "none before" if now else ""
    return "same as before" if now == before else f"{100 * (now - before) / before:+,.0f} %"


def money_text(thousandths: int | Decimal, currency: str | None = "") -> str:
    """Write an amount of thousandths, grouped by thousands, with its currency."""
    return f"{amount_text(thousandths)} {currency or ''}".rstrip()


def duration_text(seconds: float) -> str:
    """Write a duration with a short unit, like "2 h"."""
    for unit_seconds, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit_seconds:
            return f"{seconds / unit_seconds:g} {unit}"
    return f"{seconds:g} s"


def state_name(state: str) -> str:
    """Name a delivery's state."""
    return STATES[state][0] if state in STATES else state


def reason_name(reason_class: str) -> str:
    """Name a class of reasons."""
    return problem_text(reason_class).title


def as_sentence(text: str) -> str:
    """Write a text of the ledger as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def pause_reason(reason_class: str, reason: str) -> str:
    """Return why sending is paused, without repeating the reason class."""
    name = f"{reason_name(reason_class)}."
    return name if reason in ("", name) else f"{name} {reason}"


def action_name(name: str) -> str:
    """Name an action of the audit log."""
    return _ACTION_NAMES.get(name, name)


def change_text(change: object) -> str:
    """Write one changed field of the audit log."""
    if isinstance(change, list) and len(change) == 2:
        return f"{_plain(change[0])} → {_plain(change[1])}"
    return _plain(change)


def json_text(document: object) -> str:
    """Write JSON for people."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def _plain(value: object) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, list) and len(value) > _MOST_ITEMS:
        text = ", ".join(map(_plain, value[:_MOST_ITEMS]))
        return f"{text} and {len(value) - _MOST_ITEMS:,} more"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""Decide whether an event is sent, and under which of Pinterest's names."""

from typing import Literal

from worker.events import consent
from worker.events.keys import fold
from worker.pinterest.bots import is_bot
from worker.pinterest.call import Call
from worker.pinterest.explain import Explanation
from worker.pinterest.names import PAGE, Meaning, meaning_of
from worker.pinterest.overrides import find_rule


def why_not(call: Call, default_consent: Literal["drop", "allow"], explain: Explanation | None) -> str | None:
    """Return why an event must not be sent: consent, or a crawler where those are filtered; None when it may."""
    decision = consent.decide(call.event, call.options.consent_categories, default_consent)
    if explain is not None:
        explain.add("consent", f"{'given' if decision.granted else 'not given'}: {decision.reason}")
    if not decision.granted:
        return decision.reason
    if call.options.bot_filter:
        in_browser = call.received.channel == "browser"
        agent = call.received.user_agent if in_browser else call.context.get("userAgent")
        if isinstance(agent, str) and is_bot(agent):
            return "the user agent is a crawler's"
    return None


def names_for(call: Call, explain: Explanation | None) -> list[Meaning]:
    """Return under which names an event goes out: the integration's rule decides, then the built-in table.

    No name means that a rule drops it.
    """
    is_page = call.event["type"] == "page"
    options = call.options
    builtin = PAGE if is_page else meaning_of(call.name, options.field_mapping)
    rule = find_rule(options.overrides, call.name, call.properties) if options.overrides else None
    sends, by = [builtin], "the built-in table"
    if rule is not None:
        sends = [Meaning(name, builtin.one_product, builtin.a_list) for name in rule.names]
        by = "the integration's rule"
    elif options.advertiser_events and not is_page:
        own = [name for name in options.advertiser_events if fold(name) == fold(call.name)]
        if own:
            sends, by = [Meaning(own[0])], "the advertiser's own events"
    if explain is not None:
        names = ", ".join(one.pinterest_name for one in sends) or "nothing"
        explain.add("event", f"{call.name!r} is sent as {names}, by {by}")
    return sends

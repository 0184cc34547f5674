"""Drop public events that a source counts only when they are signed."""

from collections.abc import Sequence

from worker.event.text import fold_key
from worker.pinterest.event_names.event_names import CUSTOM_KIND, event_kind
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.payload_checks import Dropped, Failed, Mapped, Outcome

_REASON_CLASS = "unsigned"


def drop_signed_only(outcomes: Sequence[Outcome], names: Sequence[str], options: Options) -> list[Outcome]:
    """Return the outcomes of a public event, and drop those that a listed name covers.

    A listed name covers the events of that name, and all events that are sent under the same Pinterest name: a sender
    could otherwise use another spelling. Outcomes that consent or a rule stopped remain unchanged.
    """
    covered = {covered_name for name in names for covered_name in _covered(name, options)}
    return [_drop(outcome) if _is_covered(outcome, covered, options) else outcome for outcome in outcomes]


def _covered(event_name: str, options: Options) -> frozenset[str]:
    rules = options.overrides.get(fold_key(event_name), ())
    sent_as = {name for rule in rules for name in rule.names}
    # Without an unconditional rule, the built-in table may decide.
    if all(rule.when for rule in rules):
        sent_as.add(_builtin_name(event_name, options))
    return frozenset(map(fold_key, sent_as - {CUSTOM_KIND.pinterest_name} | {event_name}))


def _builtin_name(name: str, options: Options) -> str:
    return event_kind(name, options.field_mapping).pinterest_name


def _is_covered(outcome: Outcome, covered: set[str], options: Options) -> bool:
    if not isinstance(outcome, Mapped | Failed):
        return False
    # An event without a readable time fails before it gets a Pinterest name.
    event_name = outcome.event_name or _builtin_name(outcome.source_name, options)
    return fold_key(outcome.source_name) in covered or fold_key(event_name) in covered


def _drop(outcome: Outcome) -> Dropped:
    reason = "Events of this name count only when they are signed; this event came with the pipeline key"
    return Dropped(outcome.event_id, outcome.source_name, reason, _REASON_CLASS, consent=outcome.consent)

"""Drop public events that a source counts only when they are signed."""

from collections.abc import Sequence

from worker.event.text import fold_key
from worker.pinterest.config.overrides import CUSTOM_KIND, event_kind
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.payload_checks import Dropped, Failed, Mapped, Outcome

_REASON_CLASS = "unsigned"


def drop_signed_only(outcomes: Sequence[Outcome], listed: Sequence[str], options: Options) -> list[Outcome]:
    """Return the outcomes of a public event, dropped where a listed name covers them.

    A listed name covers the events of that name, and all that go out under the Pinterest name that it stands for:
    else a sender could choose another spelling of the same. What consent or a rule stopped stays as it is.
    """
    covered = {name for one in listed for name in _covered(one, options)}
    return [_drop(outcome) if _is_covered(outcome, covered, options) else outcome for outcome in outcomes]


def _covered(listed: str, options: Options) -> frozenset[str]:
    rules = options.overrides.get(fold_key(listed), ())
    sent_as = {name for rule in rules for name in rule.names}
    # A rule without a condition decides alone; else the built-in table may.
    if all(rule.when for rule in rules):
        sent_as.add(_builtin_name(listed, options))
    return frozenset(map(fold_key, sent_as - {CUSTOM_KIND.pinterest_name} | {listed}))


def _builtin_name(name: str, options: Options) -> str:
    return event_kind(name, options.field_mapping).pinterest_name


def _is_covered(outcome: Outcome, covered: set[str], options: Options) -> bool:
    if not isinstance(outcome, Mapped | Failed):
        return False
    # An event without a readable time fails before it gets a name of Pinterest's.
    event_name = outcome.event_name or _builtin_name(outcome.source_name, options)
    return fold_key(outcome.source_name) in covered or fold_key(event_name) in covered


def _drop(outcome: Outcome) -> Dropped:
    reason = "Events of this name count only when they are signed; this one came with the pipeline key"
    return Dropped(outcome.event_id, outcome.source_name, reason, _REASON_CLASS)

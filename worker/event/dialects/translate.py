"""Recognise the dialect of an event, and turn it into the shape that the mapping knows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.event.dialects import ad_platforms, customer_platforms, data_layer, magento, shop_systems, shopify
from worker.event.dialects.rewriting import Dialect, Shape
from worker.event.problems import Problem

# In this order: what is wrapped in other objects is lifted out first.
_MODULES: tuple[tuple[Dialect, ...], ...] = (
    data_layer.DIALECTS,
    ad_platforms.DIALECTS,
    shop_systems.DIALECTS,
    shopify.DIALECTS,
    magento.DIALECTS,
    customer_platforms.DIALECTS,
)
_DIALECTS = tuple(dialect for dialects in _MODULES for dialect in dialects)
# By module, so that one look at an event's keys passes over all of its dialects.
_REWRITING = tuple(
    (
        frozenset[str]().union(*(dialect.keys for dialect in dialects)),
        tuple((dialect, dialect.rewrite) for dialect in dialects if dialect.rewrite),
    )
    for dialects in _MODULES
)
DIALECT_KEYS = frozenset[str]().union(*(keys for keys, _ in _REWRITING))


class _Translation(NamedTuple):
    """An event in our shape: properties under folded keys, context, the dialects' names, and what is not readable."""

    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    dialects: tuple[str, ...]
    flaws: tuple[tuple[Problem, str], ...]


def translate(properties: Mapping[str, Any], context: Mapping[str, Any]) -> _Translation:
    """Return an event's properties, whose keys are folded, and its context, in the shape that the mapping knows.

    An event in this shape is returned unchanged, and costs one look at its keys.
    """
    if DIALECT_KEYS.isdisjoint(properties):
        return _Translation(properties, context, (), ())
    shape = Shape(dict(properties), dict(context))
    names = []
    for keys, rewriting in _REWRITING:
        if keys.isdisjoint(shape.properties):
            continue
        for dialect, rewrite in rewriting:
            if not dialect.keys.isdisjoint(shape.properties) and rewrite(shape):
                names.append(dialect.name)
    return _Translation(shape.properties, shape.context, tuple(names), tuple(shape.flaws))


def dialect_of_name(name: str) -> str | None:
    """Return the name of the first dialect that has an event of this name, in its own spelling."""
    return next((dialect.name for dialect in _DIALECTS if dialect.has_name(name)), None)

"""Register all pages on their blueprint."""

from worker.pages import (
    audit,
    data_quality,
    events,
    explain,
    failed,
    integrations,
    match_quality,
    missing_orders,
    overview,
    people,
    pinterest_sign_in,
    sales,
    sign_in,
    sources,
    tokens,
)
from worker.pages.base import blueprint

__all__ = [
    "audit",
    "blueprint",
    "data_quality",
    "events",
    "explain",
    "failed",
    "integrations",
    "match_quality",
    "missing_orders",
    "overview",
    "people",
    "pinterest_sign_in",
    "sales",
    "sign_in",
    "sources",
    "tokens",
]

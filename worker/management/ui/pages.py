"""Gather the pages on their blueprint."""

from worker.management.ui import (
    audit,
    events,
    explain,
    failed,
    integrations,
    overview,
    quality,
    sales,
    signing,
    sources,
    tokens,
)
from worker.management.ui.blueprint import blueprint

__all__ = [
    "audit",
    "blueprint",
    "events",
    "explain",
    "failed",
    "integrations",
    "overview",
    "quality",
    "sales",
    "signing",
    "sources",
    "tokens",
]

"""What was logged, as events with their fields."""

from typing import Any

import pytest


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return our own events in order; what libraries say is left out."""
    return [record.msg for record in caplog.records if isinstance(record.msg, dict)]

"""The Management app of the API's tests."""

from tests.api.conftest import api, app, laid_down, ledger, settings

# pytest finds fixtures by the names in this module.
__all__ = ["api", "app", "laid_down", "ledger", "settings"]

"""What an integration's configuration means to the mapping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from worker.pinterest.integration_config import ConfigError, check_categories, load_config
from worker.pinterest.names import FieldMapping
from worker.pinterest.overrides import Overrides

__all__ = ["ConfigError", "Options"]

_NO_OVERRIDES: Overrides = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Options:
    """Hold one integration's choices; the defaults are those of an integration that makes none.

    ``send_user_id`` sends the hashed user id as ``external_id``; None leaves it to ``field_mapping``, whose
    ``signal`` sends what the connector's documentation lists, and no user id.
    """

    field_mapping: FieldMapping = "signal"
    consent_categories: tuple[str, ...] = ()
    overrides: Overrides = field(default_factory=lambda: _NO_OVERRIDES)
    advertiser_events: tuple[str, ...] = ()
    default_country: str | None = None
    truncate_ip: bool = False
    limited_data_processing: bool = False
    bot_filter: bool = False
    clean_free_text: bool = True
    send_user_id: bool | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, object], consent_categories: Sequence[str]) -> Self:
        """Check an integration's whole configuration, and keep what the mapping needs of it.

        Raises:
            ConfigError: naming the first field that is wrong.
        """
        loaded: Mapping[str, Any] = load_config(config)
        return cls(
            consent_categories=check_categories(consent_categories),
            overrides=loaded.get("event_overrides", _NO_OVERRIDES),
            **{name: loaded[name] for name in _PLAIN if loaded.get(name) is not None},
        )

    @property
    def sends_user_id(self) -> bool:
        """Say whether the user id goes out, hashed, as ``external_id``."""
        return self.field_mapping == "pinterest" if self.send_user_id is None else self.send_user_id


_PLAIN = (
    "field_mapping",
    "advertiser_events",
    "default_country",
    "truncate_ip",
    "limited_data_processing",
    "bot_filter",
    "clean_free_text",
    "send_user_id",
)

"""Make, show, change and delete integrations."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema

from worker.api import context, pagination
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, ListOf, Object, Shape, Text, Timestamp, length, one_of_words
from worker.api.pagination import PageQuery, page_of
from worker.api.shared_fields import without_fixed_fields
from worker.api.sources import FIXED_HERE
from worker.operations.setup import integrations
from worker.operations.setup.integrations import IntegrationRecord, Unsent
from worker.pinterest.integration_config import CONSENT_CATEGORIES, ConfigError, load_config
from worker.pinterest.mapping.contract import NEWER_FIELDS, SCHEMA_VERSIONS

_VENDORS = ("pinterest",)
_FIXED = ("id", "source_id", "vendor", "created_at", "updated_at")

# What `worker.pinterest.integration_config` takes, for readers of the API's description.
_CONFIG_PROPERTIES: dict[str, dict[str, Any]] = {
    "ad_account_id": {
        "type": "string",
        "pattern": "^[0-9]{1,18}$",
        "example": "1234567890",
        "description": "As Pinterest Ads Manager shows it.",
    },
    "access_token": {
        "type": "string",
        "format": "password",
        "description": 'Reads back as "***"; sending that on a change keeps the stored one.',
    },
    "rate_limit_rps": {
        "type": "number",
        "description": "Requests a second. One ad account has one rate, whichever integration sets it.",
    },
    "rate_limit_burst": {"type": "integer", "description": "Burst: requests at once after idle time."},
    "field_mapping": {
        "type": "string",
        "enum": ["signal", "pinterest"],
        "default": "signal",
        "description": "Whose reading of the click ids holds: the connector's documentation, or Pinterest.",
    },
    "test_mode": {
        "type": "boolean",
        "default": False,
        "description": "Pinterest checks the events and records nothing.",
    },
    "token_expires_at": {
        "type": "string",
        "format": "date-time",
        "description": "When the token ends, so that it is warned of in time.",
    },
    "event_overrides": {
        "type": "object",
        "description": 'Event name → Pinterest\'s name, a list of names or rules, or "drop".',
    },
    "advertiser_events": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 15,
        "description": "Event names that the advertiser defined at Pinterest.",
    },
    "default_country": {"type": "string", "description": "Whose phone numbers have no country code."},
    "default_currency": {"type": "string", "description": "Of amounts without a currency (ISO 4217)."},
    "truncate_ip": {
        "type": "boolean",
        "default": False,
        "description": "Send addresses without their last part.",
    },
    "limited_data_processing": {
        "type": "boolean",
        "default": False,
        "description": "Ask Pinterest for limited data processing with every event.",
    },
    "bot_filter": {"type": "boolean", "default": False, "description": "Send nothing of known crawlers."},
    "clean_free_text": {
        "type": "boolean",
        "default": True,
        "description": "Cut what looks like an e-mail address, a phone number or a token out of addresses and texts.",
    },
    "send_user_id": {
        "type": "boolean",
        "description": "Send the hashed user id as `external_id`; left out, `pinterest` in `field_mapping` does.",
    },
    "product_id_source": {
        "type": "string",
        "enum": ["product", "variant", "sku", "parent"],
        "description": "Which id of a product is sent, as in the catalogue. Left out: the first that is there.",
    },
    "product_id_prefix": {
        "type": "string",
        "maxLength": 64,
        "description": "Is put before each product id, as in the catalogue, like `shopify_US_`.",
    },
    "product_id_suffix": {"type": "string", "maxLength": 64, "description": "Is put after each product id."},
    "value_basis": {
        "type": "string",
        "enum": ["total", "without_tax_and_shipping"],
        "default": "total",
        "description": "Whether the value of an order includes tax and shipping, as far as the event states them.",
    },
    "dedupe_by_business_id": {
        "type": "boolean",
        "default": True,
        "description": "Count a checkout of one order id once in 30 days, whatever its event ids; likewise a signup of "
        "a user id, a lead of a lead id, a subscription or trial of a subscription id.",
    },
    "schema_version": {
        "type": "string",
        "enum": list(SCHEMA_VERSIONS),
        "default": SCHEMA_VERSIONS[-1],
        "description": "The version of Pinterest's API whose fields are sent. Choose an older one if Pinterest "
        f"refuses one of {', '.join(NEWER_FIELDS)}.",
    },
}


def _check_config(config: Mapping[str, Any]) -> None:
    try:
        load_config(config)
    except ConfigError as error:
        raise ValidationError({field: [message] for field, message in error.errors.items()}) from None


_CONFIG = {"properties": _CONFIG_PROPERTIES, "additionalProperties": False}


class _Settings(Shape):
    name = Text(required=True, validate=length(1, 200))
    enabled = Boolean(load_default=True)
    consent_categories = ListOf(
        Text(validate=one_of_words(*CONSENT_CATEGORIES)),
        load_default=lambda: ["advertising"],
        metadata={"description": "An event goes out only when all of them are granted."},
    )

    @post_load
    def _once_each(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "consent_categories" in data:
            data["consent_categories"] = list(dict.fromkeys(data["consent_categories"]))
        return data


class IntegrationBody(_Settings):
    """Describe a new integration."""

    config = Object(required=True, validate=_check_config, metadata=_CONFIG)
    source_id = Text(required=True, metadata={"example": "src_abc123"})
    vendor = Text(validate=one_of_words(*_VENDORS), metadata={"example": "pinterest"})
    type = Text(validate=one_of_words(*_VENDORS), metadata={"description": "Another name for `vendor`."})

    @validates_schema
    def _vendor_is_named(self, data: dict[str, Any], **_: Any) -> None:
        if "vendor" not in data and "type" not in data:
            raise ValidationError("is required", "vendor")

    @post_load
    def _type_is_vendor(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        other_name = data.pop("type", None)
        return {"vendor": other_name} | data


class IntegrationChange(_Settings):
    """Describe what is to change; the rest stays."""

    config = Object(metadata={**_CONFIG, "description": "Null takes a setting back."})
    id = fields.Raw(metadata=FIXED_HERE)
    source_id = fields.Raw(metadata=FIXED_HERE)
    vendor = fields.Raw(metadata=FIXED_HERE)
    created_at = fields.Raw(metadata=FIXED_HERE)
    updated_at = fields.Raw(metadata=FIXED_HERE)

    def __init__(self) -> None:
        super().__init__(partial=True)


class _IntegrationAnswer(Shape):
    """Show an integration."""

    id = Text(metadata={"example": "int_0123456789abcdef"})
    source_id = Text()
    vendor = Text()
    name = Text()
    enabled = Boolean()
    config = Object(metadata=_CONFIG)
    consent_categories = ListOf(Text())
    created_at = Timestamp()
    updated_at = Timestamp()


class _WaitingQuery(Shape):
    """Say what happens to the events that an integration has not delivered yet."""

    waiting = fields.Enum(
        Unsent,
        by_value=True,
        load_default=Unsent.REFUSE,
        error_messages={"unknown": "must be refuse, discard or hand_over"},
        metadata={
            "description": "What happens to the events that wait for delivery: refuse answers 409 with their number, "
            "discard discards them, hand_over gives them to another integration of the same ad account."
        },
    )


class _DeleteQuery(_WaitingQuery):
    """Say whether to delete an integration that still has events to deliver."""

    force = fields.Boolean(
        load_default=False,
        truthy={"true"},
        falsy={"false"},
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "True: as waiting=discard."},
    )


blueprint = Blueprint(
    "integrations", __name__, url_prefix="/v1/admin", description="Where a source's events are delivered"
)


@blueprint.route("/integrations", methods=["POST"])
@blueprint.arguments(IntegrationBody)
@blueprint.response(201, _IntegrationAnswer)
def _post_integration(body: dict[str, Any]) -> IntegrationRecord:
    """Create an integration."""
    return integrations.create_integration(context.request_caller(), context.usual_rate(), **body)


@blueprint.route("/integrations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(_IntegrationAnswer))
def _get_integrations(query: dict[str, Any]) -> dict[str, Any]:
    """List integrations in the order of creation."""
    after, limit = pagination.number_after(query.get("cursor")) or 0, query["limit"]
    records = integrations.list_integrations(context.request_caller(), limit + 1, after)
    return pagination.page_answer(
        records, limit, lambda integration: integration, lambda integration: integration["number"]
    )


@blueprint.route("/integrations/<integration_id>")
@blueprint.response(200, _IntegrationAnswer)
def _get_integration_view(integration_id: str) -> IntegrationRecord:
    """Show an integration, without its access token."""
    return integrations.get_integration(context.request_caller(), integration_id)


@blueprint.route("/integrations/<integration_id>", methods=["PATCH"])
@blueprint.arguments(IntegrationChange)
@blueprint.arguments(_WaitingQuery, location="query")
@blueprint.response(200, _IntegrationAnswer)
def _patch_integration(body: dict[str, Any], query: dict[str, Any], integration_id: str) -> IntegrationRecord:
    """Change the given fields of an integration. A new access token also resumes a paused ad account."""
    current = integrations.get_integration(context.request_caller(), integration_id)
    changes = without_fixed_fields(body, _IntegrationAnswer().dump(current), _FIXED)
    return integrations.change_integration(
        context.request_caller(), integration_id, context.usual_rate(), **query, **changes
    )


@blueprint.route("/integrations/<integration_id>", methods=["DELETE"])
@blueprint.arguments(_DeleteQuery, location="query")
@blueprint.response(204)
def _delete_integration_view(query: dict[str, Any], integration_id: str) -> None:
    """Delete an integration. Batches that are being sent still arrive."""
    waiting = Unsent.DISCARD if query["force"] else query["waiting"]
    integrations.delete_integration(context.request_caller(), integration_id, waiting=waiting)

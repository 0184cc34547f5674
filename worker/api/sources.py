"""Make, show, change and delete sources, and rotate their keys."""

from typing import Any
from zoneinfo import available_timezones

import phonenumbers
from marshmallow import ValidationError, fields, post_load, validates_schema

from worker.api import context, pagination
from worker.api.blueprint import Blueprint
from worker.api.fields import (
    Boolean,
    Host,
    Integer,
    ListOf,
    Nested,
    Number,
    Shape,
    Text,
    Timestamp,
    at_most,
    between,
    length,
    matching,
    one_of_words,
)
from worker.api.pagination import PageQuery, page_of
from worker.api.shared_fields import without_fixed_fields
from worker.operations.setup import sources
from worker.operations.setup.sources import SOURCE_ID, SourceRecord

_MOST_DOMAINS = 50
_MOST_SIGNED_ONLY = 50
_MOST_GROUPS = 50
_HOURS_A_YEAR = 8_784
FIXED_HERE = {"description": "May be sent back as it was read."}
_FIXED = ("id", "pipeline_key", "pipeline_keys", "created_at", "updated_at")


class _CookieDomain(Host):
    """Take a cookie's domain; browsers ignore the dot that many write before it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        domain = value.strip().removeprefix(".") if isinstance(value, str) else value
        return super()._deserialize(domain, attr, data, **kwargs)


class _Country(Text):
    """Take a country's two letters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        country = super()._deserialize(value, attr, data, **kwargs).upper()
        if country not in phonenumbers.SUPPORTED_REGIONS:
            raise ValidationError("must be a country's two letters (ISO 3166), like DE")
        return country


class _TimeZone(Text):
    """Take a time zone's name."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        zone = super()._deserialize(value, attr, data, **kwargs)
        if zone not in available_timezones():
            raise ValidationError("must be the name of a time zone, like Europe/Berlin or UTC")
        return zone


class _DefaultConsent(Shape):
    """Decide what becomes of events that say nothing about consent."""

    browser = Text(load_default="drop", validate=one_of_words("drop", "allow"))
    server = Text(load_default="allow", validate=one_of_words("drop", "allow"))


def _groups(example: list[str]) -> ListOf:
    return ListOf(
        Text(validate=length(1, 64)),
        load_default=list,
        validate=at_most(_MOST_GROUPS, "groups"),
        metadata={"example": example},
    )


class _ConsentGroups(Shape):
    """Name the groups of the shop's consent tool that mean each category, in addition to OneTrust's own ids."""

    advertising = _groups(["C0004"])
    marketing = _groups([])
    analytics = _groups(["C0002"])
    functional = _groups(["C0003"])


class _Cookies(Shape):
    """Choose which cookies the collector sets, and for which domain."""

    domain = _CookieDomain(
        load_default=None, metadata={"description": "Null: only the collector's own host gets them back."}
    )
    dfid = Boolean(load_default=True)
    pin_unauth = Boolean(load_default=True)
    epik = Boolean(load_default=True)


def _percent(default: float, description: str) -> Number:
    return Number(load_default=default, validate=between(0, 100), metadata={"description": description})


class _AlertThresholds(Shape):
    """Limit what is normal for a source; beyond it an alert fires."""

    failure_percent = _percent(20, "Most events of one name that may fail; 100: no alert.")
    success_percent = _percent(0, "Fewest events of one name that must be delivered; 0: no alert.")
    filtered_percent = _percent(95, "Most events of one name that may lack consent; 100: no alert.")
    silent_hours = Integer(
        load_default=24,
        validate=between(0, _HOURS_A_YEAR),
        metadata={"description": "Longest time without an event, once there were some; 0: no alert."},
    )
    accuracy_percent = _percent(90, "Fewest of the shop's orders that must be delivered; 0: no alert.")


class _SourceOptions(Shape):
    """The options of a source: what each may be and means, and its value in a new source that leaves it out."""

    default_consent = Nested(_DefaultConsent, load_default=lambda: _DefaultConsent().load({}))
    consent_groups = Nested(_ConsentGroups, load_default=lambda: _ConsentGroups().load({}))
    cookies = Nested(_Cookies, load_default=lambda: _Cookies().load({}))
    alert_thresholds = Nested(_AlertThresholds, load_default=lambda: _AlertThresholds().load({}))
    secure_cookies = Boolean(
        load_default=True, metadata={"description": "False only to test over plain HTTP."}
    )
    default_country = _Country(
        load_default=None,
        metadata={"description": "Whose phone numbers have no country code.", "example": "DE"},
    )
    time_zone = _TimeZone(
        load_default=None,
        metadata={
            "description": "Where the days of the delivered sales begin. Null: UTC.",
            "example": "Europe/Berlin",
        },
    )
    backlog_limit = Integer(
        load_default=None,
        validate=between(1, 100_000_000),
        metadata={
            "description": "How many signed and how many public events may wait before new ones get a 503. "
            "Null: 1,000,000 of each."
        },
    )
    public_backlog_limit = Integer(
        load_default=None,
        validate=between(1, 100_000_000),
        metadata={"description": "Another bound for public events. Null: as backlog_limit."},
    )
    public_visitors_per_day = Integer(
        load_default=None,
        validate=between(1, 100_000_000),
        metadata={
            "description": "How many visitors public calls may create in a day (UTC); events of others are delivered, "
            "but nothing is remembered of their visitors. Null: 200,000."
        },
    )
    allow_null_origin = Boolean(
        load_default=False,
        metadata={
            "description": "Pages in sandboxed frames, such as Shopify's custom pixels, may send events and read the "
            "answers. They have no cookies."
        },
    )
    query_views = Boolean(
        load_default=False,
        metadata={
            "description": "A page that only replaces the query of its address is a new page view. "
            "The source's snippet tells the tag, so pages need the new snippet."
        },
    )
    webhook_mapping = fields.Dict(
        keys=Text(validate=length(1, 128)),
        values=Text(validate=length(1, 256)),
        load_default=dict,
        validate=at_most(_MOST_GROUPS, "fields"),
        metadata={
            "description": "For webhooks of other systems: the path of each field of the event in the webhook's "
            "body; a text after = is the value itself. Empty: the body is an event.",
            "example": {"event": "=Order Completed", "properties.order_id": "data.number"},
        },
    )
    signed_only_events = ListOf(
        Text(validate=length(1, 256)),
        load_default=list,
        validate=at_most(_MOST_SIGNED_ONLY, "names"),
        metadata={
            "description": "Event names that count only when signed: the shop's names or Pinterest's. "
            "Public events of these names, and of synonyms, are dropped.",
            "example": ["Order Completed"],
        },
    )


def _secret(description: str) -> Text:
    metadata = {"description": description, "format": "password"}
    return Text(allow_none=True, validate=length(0, 256), metadata=metadata)


class _WebhookSecrets(Shape):
    """Hold the secret of each system's webhooks. It is stored encrypted and shown as ***; null or empty removes it."""

    shopify = _secret("The secret that Shopify shows under Settings, Notifications, Webhooks.")
    woocommerce = _secret("The secret that WooCommerce's webhooks were made with.")
    custom = _secret("The secret with which another system signs its webhooks.")


class _Settings(_SourceOptions):
    webhook_secrets = Nested(_WebhookSecrets)
    name = Text(required=True, validate=length(1, 200))
    domain = Host(allow_none=True, metadata={"example": "shop.example.com"})
    domains = ListOf(Host(), validate=at_most(_MOST_DOMAINS, "domains"))

    @validates_schema
    def _domains_agree(self, data: dict[str, Any], **_: Any) -> None:
        if "domain" in data and "domains" in data and data["domain"] != next(iter(data["domains"]), None):
            raise ValidationError("must be the first of domains", "domain")

    @post_load
    def _group(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Put the options together, and take the one domain for all of them."""
        options = {name: data.pop(name) for name in _SourceOptions().fields if name in data}
        if "domain" in data:
            domain = data.pop("domain")
            data.setdefault("domains", [domain] if domain else [])
        return data | {"options": options}


class SourceBody(_Settings):
    """Describe a new source."""

    id = Text(validate=matching(SOURCE_ID, "must be src_ and 1 to 64 letters, digits, _ or -"))
    test = Boolean(load_default=False, metadata={"description": "Make the pipeline key a dk_test_ one."})


class SourceChange(_Settings):
    """Describe what is to change; the rest stays."""

    id = fields.Raw(metadata=FIXED_HERE)
    pipeline_key = fields.Raw(metadata=FIXED_HERE)
    pipeline_keys = fields.Raw(metadata=FIXED_HERE)
    created_at = fields.Raw(metadata=FIXED_HERE)
    updated_at = fields.Raw(metadata=FIXED_HERE)

    def __init__(self) -> None:
        super().__init__(partial=True)


class _SourceAnswer(_SourceOptions):
    """Show a source."""

    id = Text(metadata={"example": "src_abc123"})
    name = Text()
    domain = Text(allow_none=True)
    domains = ListOf(Text())
    pipeline_key = Text(allow_none=True, metadata={"example": "dk_live_0123456789abcdef"})
    pipeline_keys = ListOf(Text(), metadata={"description": "All valid keys, newest first."})
    server_secret = Text(metadata={"description": "Only in the answer that made it."})
    write_key = Text(
        metadata={
            "description": "For the server libraries of Segment and RudderStack; as secret as server_secret, and "
            "made with it. Only in the answer that made it."
        }
    )
    webhook_secrets = Nested(_WebhookSecrets)
    created_at = Timestamp()
    updated_at = Timestamp()

    class Meta:
        # The options that are inherited come after what names the source.
        fields = (
            *(
                "id",
                "name",
                "domain",
                "domains",
                "pipeline_key",
                "pipeline_keys",
                "server_secret",
                "write_key",
                "webhook_secrets",
            ),
            *_SourceOptions().fields,
            *("created_at", "updated_at"),
        )


class KeyRotation(Shape):
    """Say how a new pipeline key takes over."""

    overlap_hours = Number(
        load_default=24.0,
        validate=between(0, _HOURS_A_YEAR),
        metadata={"description": "How long the keys of before stay good."},
    )
    test = Boolean(load_default=False, metadata={"description": "Make it a dk_test_ key."})


blueprint = Blueprint(
    "sources", __name__, url_prefix="/v1/admin", description="The sites and servers that send events"
)


@blueprint.route("/sources", methods=["POST"])
@blueprint.arguments(SourceBody)
@blueprint.response(201, _SourceAnswer)
def _post_source(body: dict[str, Any]) -> SourceRecord:
    """Create a source. The answer is the only one that shows its server secret."""
    return sources.create_source(context.request_caller(), **body)


@blueprint.route("/sources")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(_SourceAnswer))
def _get_sources(query: dict[str, Any]) -> dict[str, Any]:
    """List sources in the order of their ids."""
    after, limit = pagination.text_after(query.get("cursor")), query["limit"]
    records = sources.list_sources(context.request_caller(), limit + 1, after)
    return pagination.page_answer(records, limit, lambda source: source, lambda source: str(source["id"]))


@blueprint.route("/sources/<source_id>")
@blueprint.response(200, _SourceAnswer)
def _get_source_view(source_id: str) -> SourceRecord:
    """Show a source."""
    return sources.get_source(context.request_caller(), source_id)


@blueprint.route("/sources/<source_id>", methods=["PATCH"])
@blueprint.arguments(SourceChange)
@blueprint.response(200, _SourceAnswer)
def _patch_source(body: dict[str, Any], source_id: str) -> SourceRecord:
    """Change the given fields of a source. Objects are merged."""
    current = sources.get_source(context.request_caller(), source_id)
    changes = without_fixed_fields(body, _SourceAnswer().dump(current), _FIXED)
    return sources.change_source(context.request_caller(), source_id, **changes)


@blueprint.route("/sources/<source_id>", methods=["DELETE"])
@blueprint.response(204)
def _delete_source_view(source_id: str) -> None:
    """Delete a source without integrations. Its keys become invalid at once."""
    sources.delete_source(context.request_caller(), source_id)


@blueprint.route("/sources/<source_id>/pipeline-key", methods=["POST"])
@blueprint.arguments(KeyRotation)
@blueprint.response(200, _SourceAnswer)
def _post_pipeline_key(body: dict[str, Any], source_id: str) -> SourceRecord:
    """Create a pipeline key. The previous keys stay valid for the overlap."""
    return sources.rotate_pipeline_key(context.request_caller(), source_id, **body)


@blueprint.route("/sources/<source_id>/server-secret", methods=["POST"])
@blueprint.response(200, _SourceAnswer)
def _post_server_secret(source_id: str) -> SourceRecord:
    """Create a server secret. The previous one becomes invalid at once."""
    return sources.rotate_server_secret(context.request_caller(), source_id)

"""Build the benchmark's events with Pinterest's SDK, as a shop's developer would write it.

Runs in an environment of its own and shares nothing with the worker: events as JSON lines in, payloads out. It
is written for these very events: nothing that a visitor or a template may get wrong is looked for.
"""

import json
import sys
import time
from pathlib import Path

from openapi_generated.pinterest_client.api_client import ApiClient
from openapi_generated.pinterest_client.model.conversion_events import ConversionEvents
from openapi_generated.pinterest_client.model.conversion_events_custom_data_contents import (
    ConversionEventsCustomDataContents,
)
from pinterest.ads.conversion_events import Conversion
from plain_way import user_data

EVENTS_A_ROUND, EVENTS_COMPARED = 250, 2_000


def custom_data(properties):
    products = properties["products"]
    return {
        "currency": properties["currency"],
        "value": format(properties["total"], "g"),
        "order_id": properties["order_id"],
        "num_items": sum(product["quantity"] for product in products),
        "content_ids": list(dict.fromkeys(product["product_id"] for product in products)),
        "contents": [
            ConversionEventsCustomDataContents(
                id=product["product_id"],
                item_price=format(product["price"], "g"),
                quantity=product["quantity"],
            )
            for product in products
        ],
    }


def build(line):
    event = json.loads(line)
    moment = time.strptime(event["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
    return Conversion.create_conversion_event(
        event_name="checkout",
        action_source="web",
        event_time=int(time.mktime(moment)) - time.timezone,
        event_id=event["messageId"],
        event_source_url=event["context"]["page"]["url"],
        user_data=user_data(event),
        custom_data=custom_data(event["properties"]),
    )


def bodies(lines):
    built = [build(line) for line in lines]
    parts = (ConversionEvents(data=built[at : at + 1000]) for at in range(0, len(built), 1000))
    return [json.dumps(ApiClient.sanitize_for_serialization(part)) for part in parts]


def main():
    """Print the first payloads as one line of JSON, then, for each line that is read, the seconds an event took."""
    lines = Path(sys.argv[1]).read_bytes().splitlines()
    first = bodies(lines[:EVENTS_COMPARED])
    print(json.dumps([event for body in first for event in json.loads(body)["data"]]), flush=True)
    for number, _ in enumerate(sys.stdin):
        first = number * EVENTS_A_ROUND % len(lines)
        part = lines[first : first + EVENTS_A_ROUND]
        start = time.process_time()
        bodies(part)
        print((time.process_time() - start) / len(part), flush=True)


if __name__ == "__main__":
    main()

"""Read a broker's queues, and shuffle their messages."""

import random
from typing import Any

from kombu import Connection

from tests.integration.waiting import until


def shuffle(broker_url: str, queue: str, n: int, order: random.Random) -> None:
    """Wait until a queue holds ``n`` messages, and put them back in another order."""
    with Connection(broker_url, connect_timeout=5) as connection:
        channel: Any = connection.channel()
        taken: list[Any] = []

        def all_there() -> bool:
            while (message := channel.basic_get(queue)) is not None:
                taken.append(message)
            return len(taken) >= n

        until(f"{n} messages wait in {queue}", all_there)
        order.shuffle(taken)
        producer = connection.Producer(channel)
        for message in taken:
            producer.publish(
                message.body,
                exchange="",
                routing_key=queue,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                headers=message.headers,
                **{key: message.properties[key] for key in ("correlation_id", "reply_to", "delivery_mode")},
            )
            channel.basic_ack(message.delivery_tag)

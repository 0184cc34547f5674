"""Build the messages that Celery's workers take for tasks."""

import json
from typing import Any

from celery.utils.nodenames import anon_nodename
from kombu.utils.uuid import uuid

_EMBED = json.dumps({"callbacks": None, "errbacks": None, "chain": None, "chord": None})


class TaskMessages:
    """Build Celery's messages (protocol 2) for one task, without the ``saferepr`` of ``apply_async``.

    Arguments must be numbers and texts that everybody may read: they show in Flower and in logs as they are.
    """

    def __init__(self, task: str) -> None:
        self._headers = {
            "lang": "py",
            "task": task,
            "parent_id": None,
            "group": None,
            "kwargsrepr": "{}",
            "origin": anon_nodename(),
            "retries": 0,
        }

    def publish_options(
        self, args: tuple[Any, ...], argsrepr: str | None = None, task_id: str | None = None
    ) -> dict[str, Any]:
        """Return body, headers and properties as ``prepare_message`` takes them."""
        task_id = task_id or uuid()
        return {
            "body": f"[{json.dumps(args)}, {{}}, {_EMBED}]".encode(),
            "headers": {
                **self._headers,
                "id": task_id,
                "root_id": task_id,
                "argsrepr": argsrepr or repr(args),
            },
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "properties": {"correlation_id": task_id, "reply_to": "", "delivery_mode": 2},
        }

"""Tell a webhook what changed, signed."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.http import guard
from worker.http.signature import sign

# Between two tries; a receiver that was away is found again within the longest.
_FIRST_RETRY_SECONDS = 15.0
MAX_RETRY_SECONDS = 900.0
# What is older than that is no news.
GIVE_UP_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """Hold where to tell, with which secret, and which hosts may be on a private network."""

    url: str
    secret: str
    private_hosts: tuple[str, ...] = ()
    clock: Callable[[], float] = time.time

    def tell(self, notice_id: int, content: dict[str, Any]) -> str | None:
        """Post a notice; return None when it was taken, else what went wrong.

        The receiver may get one twice, under the same X-Alert-Id.
        """
        body = json.dumps(content, ensure_ascii=False).encode()
        stamp = str(int(self.clock() * 1000))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "signal-worker",
            "X-Alert-Id": str(notice_id),
            "X-Timestamp": stamp,
            "X-Signature": sign(self.secret, stamp, body),
        }
        try:
            status = guard.post(self.url, body, headers, self.private_hosts)
        except guard.PrivateHostError:
            return "its host's address is not public, and ALERT_WEBHOOK_PRIVATE_HOSTS does not name the host"
        except guard.PostFailedError as error:
            return str(error)
        return None if 200 <= status < 300 else f"HTTP {status}"


def retry_delay_seconds(attempts: int) -> float:
    """Return how long to wait after so many tries that failed."""
    return min(MAX_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 16))

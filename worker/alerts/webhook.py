"""Send signed notices to a webhook."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.http import guard
from worker.http.signature import sign

# Between two attempts.
_FIRST_RETRY_SECONDS = 15.0
_MAX_RETRY_SECONDS = 900.0
# Older notices are dropped.
GIVE_UP_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """Hold the URL and secret, and the hosts that may be on a private network."""

    url: str
    secret: str
    private_hosts: tuple[str, ...] = ()
    clock: Callable[[], float] = time.time

    def send(self, notice_id: int, content: dict[str, Any]) -> str | None:
        """Post a notice; return None on success, else the error.

        The receiver may get a notice twice, with the same X-Alert-Id.
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
    """Return how long to wait after this number of failed attempts."""
    return min(_MAX_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 16))

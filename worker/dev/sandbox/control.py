"""Query and control a running sandbox."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

_TIMEOUT_SECONDS = 30.0


class _SandboxError(Exception):
    """The sandbox refused; the message is its own."""


class Sandbox:
    """A running sandbox, reached over HTTP."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"

    def events_url(self, account: str, *, test: bool = False) -> str:
        """Name the address to which an ad account's events are posted."""
        return f"{self.url}/v5/ad_accounts/{account}/events" + ("?test=true" if test else "")

    def received(self, **filters: object) -> Any:
        """Get the counts and the last accepted events; filters: account, event_id, event_name, limit."""
        return self._json("GET", "/received", query=filters)

    def requests(self, account: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
        """List the newest requests with their times and statuses, oldest of them first."""
        query: dict[str, object] = {"limit": limit} | ({"account": account} if account else {})
        found: list[dict[str, Any]] = self._json("GET", "/received/requests", query=query)["requests"]
        return found

    def rates(self) -> dict[str, dict[str, int]]:
        """Give the most requests in any second and any minute, by ad account."""
        accounts: dict[str, dict[str, int]] = self._json("GET", "/received/rate")["accounts"]
        return accounts

    def ids(self, account: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield every accepted event id with its event name and copies."""
        query = f"?account={account}" if account else ""
        with closing(self._connect()) as connection:
            connection.request("GET", f"/received/ids{query}")
            for line in connection.getresponse():
                yield json.loads(line)

    def behave(self, script: Mapping[str, Any]) -> Any:
        """Follow a script from now on, in place of the one before."""
        return self._json("POST", "/behave", body=script)

    def behaviour(self) -> Any:
        """Get the script and how often each rule applied."""
        return self._json("GET", "/behave")

    def behave_well(self) -> None:
        """Follow no script."""
        self._json("DELETE", "/behave")

    def forget(self) -> None:
        """Forget what was received."""
        self._json("DELETE", "/received")

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_SECONDS)

    def _json(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: object = None
    ) -> Any:
        target = path + ("?" + urlencode(query) if query else "")
        with closing(self._connect()) as connection:
            connection.request(method, target, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != 200:
            raise _SandboxError(answer["message"])
        return answer

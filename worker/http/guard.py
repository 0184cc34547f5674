"""Post to a URL that an operator configured, without reaching private networks."""

from collections.abc import Collection

from worker.http.deadline import NETWORK_ERRORS, RequestDeadline, new_session
from worker.http.ip_ranges import is_public

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 10.0
_DEADLINE_SECONDS = 20.0


class PostFailedError(Exception):
    """The request failed; the message says why, without the URL, which may hold a secret."""


class PrivateHostError(Exception):
    """The host resolves to an address that is not on the public internet."""


def post(url: str, body: bytes, headers: dict[str, str], private_hosts: Collection[str]) -> int:
    """Post a body and return the status, without following redirects or reading the response.

    Raises:
        PostFailedError: no response within ``_DEADLINE_SECONDS``.
        PrivateHostError: the host is private and not in ``private_hosts``.
    """
    deadline = _GuardedDeadline(private_hosts)
    try:
        with (
            deadline.active(),
            new_session() as session,
            session.post(url, data=body, headers=headers, allow_redirects=False, stream=True) as response,
        ):
            return response.status_code
    except NETWORK_ERRORS as error:
        raise PostFailedError(deadline.explain(error)) from None


class _GuardedDeadline(RequestDeadline):
    """Check each address when connecting to it, so that the name cannot resolve to another address meanwhile."""

    def __init__(self, private_hosts: Collection[str]) -> None:
        super().__init__(_CONNECT_SECONDS, _READ_SECONDS, _DEADLINE_SECONDS)
        self._private_hosts = private_hosts

    def check_address(self, host: str, address: str) -> None:
        if host.lower() not in self._private_hosts and not is_public(address):
            raise PrivateHostError

"""Post to an address that an operator named, and reach nothing else by it."""

from collections.abc import Collection

from worker.http.deadline import NETWORK_ERRORS, RequestDeadline, new_session
from worker.http.ip_ranges import is_public

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 10.0
DEADLINE_SECONDS = 20.0


class PostFailedError(Exception):
    """Say in words why nobody took it; the address stays out, for it may hold a secret."""


class PrivateHostError(Exception):
    """A host's name leads to an address that is not on the public internet."""


def post(url: str, body: bytes, headers: dict[str, str], private_hosts: Collection[str]) -> int:
    """Post a body and return the status; redirects are not followed, and the answer is not read.

    Raises:
        NotPostedError: no answer within the time.
        PrivateHostError: the host is private and not allowed to be.
    """
    deadline = _GuardedDeadline(private_hosts)
    try:
        with (
            deadline.active(),
            new_session() as session,
            session.post(url, data=body, headers=headers, allow_redirects=False, stream=True) as answer,
        ):
            return answer.status_code
    except NETWORK_ERRORS as error:
        raise PostFailedError(deadline.explain(error)) from None


class _GuardedDeadline(RequestDeadline):
    """Look at each address where it is connected to: a name cannot lead elsewhere meanwhile."""

    def __init__(self, private_hosts: Collection[str]) -> None:
        super().__init__(_CONNECT_SECONDS, _READ_SECONDS, DEADLINE_SECONDS)
        self._private_hosts = private_hosts

    def check_address(self, host: str, address: str) -> None:
        if host.lower() not in self._private_hosts and not is_public(address):
            raise PrivateHostError

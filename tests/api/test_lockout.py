"""Failed attempts are limited by address; what succeeds is not asked about."""

from worker.api.throttle import _MOST_ADDRESSES, _WINDOW_SECONDS, FailureCounter


def test_who_failed_too_often_has_to_wait_and_then_may_fail_again() -> None:
    now = [0.0]
    failures = FailureCounter(2, lambda: now[0])
    assert failures.failed("192.0.2.1") == 0.0
    now[0] = 10.0
    assert failures.failed("192.0.2.1") == 0.0

    assert failures.failed("192.0.2.1") == _WINDOW_SECONDS - 10
    assert failures.failed("192.0.2.2") == 0.0
    # What was refused does not make the wait longer.
    now[0] = _WINDOW_SECONDS
    assert failures.failed("192.0.2.1") == 0.0
    assert failures.failed("192.0.2.1") == 10.0


def test_failures_from_many_addresses_are_no_other_s() -> None:
    failures = FailureCounter(1, lambda: 0.0)
    for last in range(250):
        failures.failed(f"192.0.2.{last}")

    assert failures.failed("198.51.100.1") == 0.0


def test_the_addresses_of_one_ipv6_line_are_one() -> None:
    failures = FailureCounter(1, lambda: 0.0)
    failures.failed("2001:db8:0:1::1")

    assert failures.failed("2001:db8:0:1:ffff::2") == _WINDOW_SECONDS
    assert failures.failed("2001:db8:0:2::1") == 0.0


def test_what_is_remembered_stays_bounded() -> None:
    failures = FailureCounter(1, lambda: 0.0)
    for number in range(_MOST_ADDRESSES + 1):
        failures.failed(f"no address {number}")

    assert failures.failed("no address 2") == _WINDOW_SECONDS
    assert failures.failed("no address 0") == 0.0

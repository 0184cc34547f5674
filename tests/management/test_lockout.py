"""Holding off whoever guesses."""

from worker.management.lockout import MOST_ADDRESSES, WINDOW_SECONDS, Lockout


def test_the_door_closes_for_who_guessed_too_often_and_opens_again() -> None:
    now = [0.0]
    lockout = Lockout(2, 100, lambda: now[0])
    lockout.wrong("192.0.2.1")
    now[0] = 10.0
    lockout.wrong("192.0.2.1")

    assert lockout.wait_seconds("192.0.2.1") == WINDOW_SECONDS - 10
    assert lockout.wait_seconds("192.0.2.2") == 0.0
    now[0] = WINDOW_SECONDS
    assert lockout.wait_seconds("192.0.2.1") == 0.0


def test_guesses_from_many_addresses_close_it_for_everybody() -> None:
    lockout = Lockout(2, 3, lambda: 0.0)
    for last in range(3):
        lockout.wrong(f"192.0.2.{last}")

    assert lockout.wait_seconds("198.51.100.1") == WINDOW_SECONDS


def test_the_addresses_of_one_ipv6_line_are_one() -> None:
    lockout = Lockout(1, 100, lambda: 0.0)
    lockout.wrong("2001:db8:0:1::1")

    assert lockout.wait_seconds("2001:db8:0:1:ffff::2") == WINDOW_SECONDS
    assert lockout.wait_seconds("2001:db8:0:2::1") == 0.0


def test_what_is_remembered_stays_bounded() -> None:
    lockout = Lockout(1, 1_000_000, lambda: 0.0)
    for number in range(MOST_ADDRESSES + 1):
        lockout.wrong(f"no address {number}")

    assert lockout.wait_seconds("no address 0") == 0.0
    assert lockout.wait_seconds("no address 1") == WINDOW_SECONDS

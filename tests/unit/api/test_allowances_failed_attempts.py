"""Failures of an address are slowed when there are many; nobody else is concerned."""

from everlog.api.allowances import ADDRESSES_MAX, FAILURES_MAX, FailedAttempts


def check_waits(attempts: FailedAttempts, address: str, *, now: float, count: int) -> list[float]:
    return [attempts.count(address, now=now) for _ in range(count)]


def test_an_address_is_slowed_from_the_bound_on() -> None:
    attempts = FailedAttempts(lambda _: None)

    waits = check_waits(attempts, "192.0.2.1", now=0, count=FAILURES_MAX + 2)

    assert waits == [0] * FAILURES_MAX + [1.0, 1.0]


def test_one_failure_a_second_goes_on_to_be_answered_as_such() -> None:
    attempts = FailedAttempts(lambda _: None)
    check_waits(attempts, "192.0.2.1", now=0, count=FAILURES_MAX)

    for second in range(1, 10):
        first, second_one = check_waits(attempts, "192.0.2.1", now=second, count=2)
        assert first == 0
        assert second_one > 0


def test_other_addresses_are_not_concerned() -> None:
    attempts = FailedAttempts(lambda _: None)
    check_waits(attempts, "192.0.2.1", now=0, count=FAILURES_MAX + 1)

    assert attempts.count("192.0.2.2", now=0) == 0


def test_the_hosts_of_an_ipv6_network_are_counted_together() -> None:
    attempts = FailedAttempts(lambda _: None)

    waits = [attempts.count(f"2001:db8::{n:x}", now=0) for n in range(1, FAILURES_MAX + 2)]

    assert [wait > 0 for wait in waits] == [False] * FAILURES_MAX + [True]


def test_an_address_is_reported_once_a_minute_however_many_insist() -> None:
    reported: list[str] = []
    attempts = FailedAttempts(reported.append)

    for now in (0, 30, 59, 60, 61):
        for address in ("192.0.2.1", "192.0.2.2"):
            check_waits(attempts, address, now=now, count=FAILURES_MAX + 1)

    assert reported == ["192.0.2.1", "192.0.2.1"]


def test_the_table_of_addresses_is_bounded() -> None:
    attempts = FailedAttempts(lambda _: None)

    for number in range(ADDRESSES_MAX + 500):
        attempts.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", now=0)

    assert len(attempts._allowances) == ADDRESSES_MAX

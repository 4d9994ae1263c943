"""What requests cost, and what the headers say about it."""

import pytest

from everlog.api.allowances import READ_COST, RateLimit, cost_of
from everlog.api.routes import ROUTES
from everlog.domain.limits import WRITE_COST

WRITING = {"write_events", "register_event_schema", "restore"}


def check_headers(headers: tuple[tuple[bytes, bytes], ...], *, remaining: int) -> None:
    assert dict(headers) == {
        b"RateLimit-Policy": b'"default";q=12;w=1',
        b"RateLimit": b'"default";r=%d;t=1' % remaining,
    }


def test_a_write_costs_more_than_a_read() -> None:
    assert WRITE_COST > READ_COST
    for route in ROUTES:
        expected = WRITE_COST if route.handle.__name__ in WRITING else READ_COST
        assert cost_of(route) == expected


def test_the_headers_say_what_is_left_and_when_to_try_again() -> None:
    limit = RateLimit(12)
    for remaining in (7, 2):
        charge = limit.charge("192.0.2.1", WRITE_COST, now=0)
        assert charge.refusal is None
        check_headers(charge.headers, remaining=remaining)

    refused = limit.charge("192.0.2.1", WRITE_COST, now=0)

    assert refused.refusal is not None
    assert refused.refusal.status == 429
    assert (b"Retry-After", b"1") in refused.refusal.headers
    check_headers(refused.headers, remaining=2)
    # A read still passes.
    assert limit.charge("192.0.2.1", READ_COST, now=0).refusal is None


def test_after_the_wait_a_write_passes() -> None:
    limit = RateLimit(WRITE_COST)
    assert limit.charge("192.0.2.1", WRITE_COST, now=0).refusal is None
    assert limit.charge("192.0.2.1", WRITE_COST, now=0.99).refusal is not None

    assert limit.charge("192.0.2.1", WRITE_COST, now=1).refusal is None


def test_addresses_have_a_limit_each() -> None:
    limit = RateLimit(WRITE_COST)
    limit.charge("192.0.2.1", WRITE_COST, now=0)

    assert limit.charge("192.0.2.2", WRITE_COST, now=0).refusal is None


def test_a_limit_that_no_write_could_pass_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        RateLimit(WRITE_COST - 1)

"""Permits: so many and no more, and each is given back once."""

import pytest

from everlog.domain.errors import TooManyQueriesError
from everlog.service.permits import Permits


def two_permits() -> Permits:
    return Permits(2, lambda count_max: TooManyQueriesError(f"{count_max} are enough"))


def test_whoever_finds_no_permit_left_is_refused() -> None:
    permits = two_permits()
    permits.acquire()
    permits.acquire()

    with pytest.raises(TooManyQueriesError, match="2 are enough"):
        permits.acquire()

    assert permits.held_count == 2


def test_a_permit_is_given_back_at_the_end_of_a_block_whatever_happens_in_it() -> None:
    permits = two_permits()

    def fail() -> None:
        with permits.acquire():
            assert permits.held_count == 1
            raise RuntimeError("whatever")

    with pytest.raises(RuntimeError, match="whatever"):
        fail()

    assert permits.held_count == 0


def test_a_permit_that_is_given_back_twice_makes_room_once() -> None:
    permits = two_permits()
    first, _ = permits.acquire(), permits.acquire()

    with first:
        first.release()
        first.release()

    assert permits.held_count == 1
    permits.acquire()
    with pytest.raises(TooManyQueriesError):
        permits.acquire()


def test_what_others_hold_counts_as_far_as_was_heard() -> None:
    permits = two_permits()
    heard: list[int] = []
    permits.on_change = lambda: heard.append(permits.held_count)
    permits.others_count = 1

    with permits.acquire(), pytest.raises(TooManyQueriesError):
        permits.acquire()

    assert heard == [1, 0]
    permits.others_count = 0
    permits.acquire()
    permits.acquire()

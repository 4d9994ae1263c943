"""Places: so many and no more, and each is left once."""

import pytest

from everlog.domain.errors import TooManyQueriesError
from everlog.service.places import Places


def two_places() -> Places:
    return Places(2, lambda count_max: TooManyQueriesError(f"{count_max} are enough"))


def test_whoever_finds_all_places_taken_is_refused() -> None:
    places = two_places()
    places.enter()
    places.enter()

    with pytest.raises(TooManyQueriesError, match="2 are enough"):
        places.enter()

    assert places.present_count == 2


def test_a_place_is_left_at_the_end_of_a_block_whatever_happens_in_it() -> None:
    places = two_places()

    def fail() -> None:
        with places.enter():
            assert places.present_count == 1
            raise RuntimeError("whatever")

    with pytest.raises(RuntimeError, match="whatever"):
        fail()

    assert places.present_count == 0


def test_a_place_that_is_left_twice_makes_room_once() -> None:
    places = two_places()
    first, _ = places.enter(), places.enter()

    with first:
        first.leave()
        first.leave()

    assert places.present_count == 1
    places.enter()
    with pytest.raises(TooManyQueriesError):
        places.enter()

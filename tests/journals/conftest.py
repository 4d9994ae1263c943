"""The journals that must keep the contract."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.journal_places import KINDS, Place


@pytest.fixture(scope="module", params=sorted(KINDS))
def new_place(request: pytest.FixtureRequest) -> Iterator[Callable[[], Place]]:
    with KINDS[request.param]() as make:
        yield make


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()

"""Writes that depend on queries: how often they try, and what they say in the end."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from everlog.domain.errors import Code, RefusedError
from everlog.service import query_preconditions
from everlog.service.standing_query import StaleQueryError
from everlog.service.writer import Outcome

ATTEMPTS_MAX = 10


def outcome_after(stale_count: int, monkeypatch: pytest.MonkeyPatch, *, is_quick: bool) -> Outcome:
    """Return what a write is answered with whose queries go stale so often."""
    outcomes: Iterator[Outcome] = iter([StaleQueryError(is_quick=is_quick)] * stale_count + [()])
    answers: list[Outcome] = []

    async def attempt(*_: Any, **__: Any) -> Outcome:
        return next(outcomes)

    async def write() -> None:
        store: Any = SimpleNamespace(queries=SimpleNamespace(turn=asyncio.Lock()))
        await query_preconditions.write_after_queries(store, [], [], answers.append)

    monkeypatch.setattr(query_preconditions, "_attempt", attempt)
    asyncio.run(write())
    [answer] = answers
    return answer


@pytest.mark.parametrize("stale_count", [0, 1, ATTEMPTS_MAX - 1])
def test_the_first_attempt_that_decides_is_answered(
    stale_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_quick in (True, False):
        assert outcome_after(stale_count, monkeypatch, is_quick=is_quick) == ()


def test_attempts_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_quick in (True, False):
        with pytest.raises(RefusedError, match="in 10 attempts") as raised:
            outcome_after(ATTEMPTS_MAX, monkeypatch, is_quick=is_quick)

        assert raised.value.code is Code.QUERY_UNEVALUABLE

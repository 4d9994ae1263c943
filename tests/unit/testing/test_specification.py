"""Given/when/then: what passes, what fails, and what a failing one says."""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from unittest.mock import ANY

import pytest

from everlog.testing import Specification, given


@dataclass(frozen=True)
class Acquired:
    copy: str


@dataclass(frozen=True)
class Borrowed:
    copy: str
    reader: str


@dataclass(frozen=True)
class Loan:
    is_there: bool = False
    reader: str | None = None


class NotThereError(Exception):
    pass


Event = Acquired | Borrowed


def evolve(loan: Loan, event: Event) -> Loan:
    match event:
        case Acquired():
            return replace(loan, is_there=True)
        case Borrowed(reader=reader):
            return replace(loan, reader=reader)


def borrow(loan: Loan, copy: str, *, reader: str) -> list[Event]:
    if not loan.is_there:
        raise NotThereError(f"there is no copy {copy}")
    if loan.reader == reader:
        return []
    return [Borrowed(copy, reader)]


LENDING = Specification[Loan, Event](evolve, initial_state=Loan())


def test_the_state_is_made_of_what_was_given_and_decides() -> None:
    outcome = LENDING.given(Acquired("42")).when(borrow, "42", reader="jane")

    outcome.then(Borrowed("42", "jane"))
    assert outcome.events == (Borrowed("42", "jane"),)


def test_a_state_may_be_made_anew_each_time() -> None:
    def add(copies: list[str], event: Acquired) -> list[str]:
        copies.append(event.copy)
        return copies

    def count(copies: list[str]) -> int:
        return len(copies)

    shelf = Specification(add, initial_state=list[str])

    shelf.given(Acquired("1"), Acquired("2")).when(count).then(2)
    shelf.given(Acquired("1")).when(count).then(1)


def test_without_a_state_the_events_themselves_decide() -> None:
    def acquire(history: Sequence[Event], copy: str) -> Event:
        assert history == (Acquired("1"),)
        return Acquired(copy)

    given(Acquired("1")).when(acquire, "2").then(Acquired("2"))


@pytest.mark.parametrize("nothing", [None, [], (), iter(())], ids=["none", "list", "tuple", "iter"])
def test_nothing_happens_where_nothing_is_decided(nothing: Any) -> None:
    given().when(lambda _: nothing).then_nothing_happened()


def test_what_is_yielded_is_decided() -> None:
    def decide(_: Sequence[Event]) -> Iterator[Event]:
        yield Acquired("1")
        yield Acquired("2")

    given().when(decide).then(Acquired("1"), Acquired("2"))


def test_a_test_need_not_know_everything() -> None:
    given().when(lambda _: {"type": "acquired", "id": 4711}).then({"type": "acquired", "id": ANY})


def test_other_events_fail_with_both_and_with_what_was_given() -> None:
    outcome = LENDING.given(Acquired("42")).when(borrow, "42", reader="jane")

    with pytest.raises(AssertionError) as caught:
        outcome.then(Borrowed("42", "joe"))

    lines = [line for line in str(caught.value).splitlines() if not line.startswith("?")]
    assert lines == [
        "Expected 1 event(s), decided 1; number 1 differs (- expected, + decided):",
        "-   Borrowed(copy='42', reader='joe')",
        "+   Borrowed(copy='42', reader='jane')",
        "",
        "Given 1:",
        "  Acquired(copy='42')",
        "When borrow('42', reader='jane')",
    ]


@pytest.mark.parametrize(
    "expected",
    [(), (Acquired("1"),), (Acquired("2"), Acquired("1")), tuple(map(Acquired, "123"))],
    ids=["none", "fewer", "another order", "more"],
)
def test_all_events_count_and_their_order(expected: Sequence[Event]) -> None:
    outcome = given().when(lambda _: [Acquired("1"), Acquired("2")])

    with pytest.raises(AssertionError, match=f"Expected {len(expected)} event"):
        outcome.then(*expected)


def test_an_event_may_be_a_tuple_with_names() -> None:
    class Returned(NamedTuple):
        copy: str

    given().when(lambda _: Returned("1")).then(Returned("1"))
    given().when(lambda _: (Returned("1"), Returned("2"))).then(Returned("1"), Returned("2"))


def test_what_differs_and_looks_alike_is_named() -> None:
    class Incomparable:
        def __repr__(self) -> str:
            return "Incomparable()"

    with pytest.raises(AssertionError) as caught:
        given().when(lambda _: Incomparable()).then(Incomparable())

    message = "decided 1; number 1 differs, though it looks alike: is == defined for it?\n"
    assert message in str(caught.value)


def test_something_that_happened_is_not_nothing() -> None:
    with pytest.raises(AssertionError, match=r"Expected 0 event\(s\), decided 1"):
        given().when(lambda _: Acquired("1")).then_nothing_happened()


def test_a_refusal_is_expected_by_its_kind_and_text() -> None:
    outcome = LENDING.given().when(borrow, "42", reader="jane")

    error = outcome.then_raises(NotThereError, match="no copy 4")

    assert str(error) == "there is no copy 42"
    assert outcome.then_raises((KeyError, NotThereError)) is error


@pytest.mark.parametrize(
    "kind, match, message",
    [
        (KeyError, None, "Expected KeyError, but it raised NotThereError: there is no copy 42"),
        ((KeyError, OSError), None, "Expected KeyError or OSError, but it raised NotThereError"),
        (NotThereError, "dog", "Expected a text that matches 'dog', but it is 'there is no copy"),
    ],
    ids=["kind", "kinds", "text"],
)
def test_another_refusal_fails(kind: Any, match: str | None, message: str) -> None:
    outcome = LENDING.given().when(borrow, "42", reader="jane")

    with pytest.raises(AssertionError) as caught:
        outcome.then_raises(kind, match=match)

    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("\n\nGiven no event\nWhen borrow('42', reader='jane')")
    # It shows where the decision was made.
    assert isinstance(caught.value.__cause__, NotThereError)


def test_no_refusal_fails_with_what_was_decided_instead() -> None:
    outcome = LENDING.given(Acquired("42")).when(borrow, "42", reader="jane")

    with pytest.raises(AssertionError) as caught:
        outcome.then_raises(NotThereError)

    message = "Expected NotThereError, but it decided 1:\n  Borrowed(copy='42', reader='jane')\n\n"
    assert str(caught.value).startswith(message)


def test_a_refusal_that_nobody_expects_is_the_result_of_the_test() -> None:
    outcome = LENDING.given().when(borrow, "42", reader="jane")

    with pytest.raises(NotThereError) as caught:
        outcome.then(Borrowed("42", "jane"))

    assert caught.value.__notes__ == ["Given no event\nWhen borrow('42', reader='jane')"]
    assert caught.traceback[-1].name == "borrow"


def test_a_decision_does_not_wait() -> None:
    async def decide(_: Sequence[Event]) -> None:
        """Do nothing, but asynchronously."""

    async def generate(_: Sequence[Event]) -> Any:
        yield Acquired("1")

    for asynchronous in (decide, generate):
        with pytest.raises(TypeError, match=r"^When \w+\(\): a decision cannot be asynchronous$"):
            given().when(asynchronous)


def test_a_specification_that_tests_nothing_is_warned_of() -> None:
    def forget() -> None:
        given().when(lambda _: Acquired("1"))
        gc.collect()

    with pytest.warns(UserWarning, match=r"without then...\(\) tests nothing\nGiven no event\n"):
        forget()

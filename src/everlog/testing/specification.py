"""Given events, when something is decided, then these events, or this refusal.

A decision function takes a state first, decides, and returns the events to write. It touches
neither store nor network, so that its tests need neither. Events are whatever the application
uses: `NewEvent`, or values of its own that can be compared.

    from everlog.testing import Specification, given

    lending = Specification(evolve, initial_state=Loan())
    lending.given(acquired).when(borrow, reader="jane").then(borrowed)

    given(acquired).when(borrow_from_history, reader="jane").then(borrowed)

Guarantees that a specification that was not brought to its end with `then...` is warned of: it
would test nothing.
"""

import difflib
import inspect
import pprint
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Concatenate, Final, Generic, NoReturn, ParamSpec, TypeVar

S = TypeVar("S")
E = TypeVar("E")
P = ParamSpec("P")

# How a value is shown: as wide as a terminal, with the order of its members kept.
_WIDTH: Final = 96


class Specification(Generic[S, E]):
    """How a state is made of events, for all tests of the functions that decide by it.

    `evolve` takes a state and an event and returns the next state. `initial_state` is the state
    before the first event, or a function without arguments that makes one, as a class is; where
    states are changed in place, it has to be such a function.
    """

    def __init__(self, evolve: Callable[[S, E], S], *, initial_state: S | Callable[[], S]) -> None:
        self._evolve: Final = evolve
        self._initial_state: Final = initial_state

    def given(self, *events: E) -> "Given[S]":
        """Return what has happened so far, the oldest event first."""
        return Given(events, self._fold)

    def _fold(self, events: Iterable[E]) -> S:
        initial: Any = self._initial_state
        state: S = initial() if callable(initial) else initial
        for event in events:
            state = self._evolve(state, event)
        return state


def given(*events: E) -> "Given[Sequence[E]]":
    """Return what has happened so far, for functions that decide by the events themselves.

    They get a tuple of them, the oldest first.
    """
    return Given(events, tuple)


class Given(Generic[S]):
    """What has happened before the decision."""

    def __init__(self, events: Sequence[Any], fold: Callable[[Iterable[Any]], S]) -> None:
        self._events: Final = events
        self._fold: Final = fold

    def when(
        self, decide: Callable[Concatenate[S, P], Any], *args: P.args, **kwargs: P.kwargs
    ) -> "Outcome":
        """Decide: call the function with the state and, behind it, the other arguments.

        What it returns counts as no event if it is None, as several if it is a list, a tuple or an
        iterator, and as one event otherwise. What it raises is for `then_raises`.

        Raises:
            TypeError: The function is asynchronous. Wait outside, and decide by values.
        """
        situation = _describe(self._events, decide, args, kwargs)
        state = self._fold(self._events)
        try:
            decided = decide(state, *args, **kwargs)
            if not inspect.isawaitable(decided) and not inspect.isasyncgen(decided):
                return Outcome(situation, _events_of(decided), None)
        except Exception as error:  # noqa: BLE001 - it is judged by `then_raises`.
            return Outcome(situation, (), error)
        if inspect.iscoroutine(decided):
            # Else Python warns that nobody waited for it.
            decided.close()
        raise TypeError(f"{situation.splitlines()[-1]}: a decision cannot be asynchronous")


class Outcome:
    """What was decided. Each of its methods fails with all that was given, asked and answered."""

    def __init__(self, situation: str, events: Sequence[Any], error: Exception | None) -> None:
        self._situation: Final = situation
        self._events: Final = events
        self._error: Final = error
        self._is_judged = False

    @property
    def events(self) -> Sequence[Any]:
        """The events that were decided, for assertions of your own.

        Raises:
            Exception: What the decision raised, as it was raised.
        """
        self._is_judged = True
        if self._error is not None:
            self._error.add_note(self._situation)
            raise self._error
        return self._events

    def then(self, *expected: object) -> None:
        """Check that exactly these events were decided, in this order.

        They are compared with `==`, so that `unittest.mock.ANY` stands for what a test cannot know.
        """
        __tracebackhide__ = True
        events = self.events
        if list(expected) != list(events):
            self._fail(_difference(expected, events))

    def then_nothing_happened(self) -> None:
        """Check that no event was decided, and nothing raised."""
        __tracebackhide__ = True
        self.then()

    def then_raises(
        self, kind: type[Exception] | tuple[type[Exception], ...], *, match: str | None = None
    ) -> Exception:
        """Check that the decision raised such an exception, and return it.

        `match` is a regular expression that its text has to contain, as for `pytest.raises`.
        """
        __tracebackhide__ = True
        self._is_judged = True
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(each.__name__ for each in kinds)
        error = self._error
        if error is None:
            self._fail(f"Expected {wanted}, but it decided {_count(self._events)}")
        if not isinstance(error, kinds):
            self._fail(f"Expected {wanted}, but it raised {type(error).__name__}: {error}")
        if match is not None and re.search(match, str(error)) is None:
            self._fail(f"Expected a text that matches {match!r}, but it is {str(error)!r}")
        return error

    def _fail(self, message: str) -> NoReturn:
        __tracebackhide__ = True
        # What the decision raised, if it did, shows where.
        raise AssertionError(f"{message}\n\n{self._situation}") from self._error

    def __del__(self) -> None:
        if not self._is_judged:
            message = f"a specification without then...() tests nothing\n{self._situation}"
            warnings.warn(message, UserWarning, stacklevel=2)


def _events_of(decided: Any) -> Sequence[Any]:
    if decided is None:
        return ()
    # A tuple whose places have names is a value: an event.
    is_several = isinstance(decided, list | tuple | Iterator) and not hasattr(decided, "_fields")
    return tuple(decided) if is_several else (decided,)


def _describe(
    events: Sequence[Any],
    decide: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> str:
    """Return the situation as a failing test shows it."""
    name = getattr(decide, "__name__", repr(decide))
    asked = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"Given {_count(events)}\nWhen {name}({', '.join(asked)})"


def _count(events: Sequence[Any]) -> str:
    return "no event" if not events else f"{len(events)}:\n{_show(events)}"


def _show(events: Sequence[Any]) -> str:
    return "\n".join(_lines(events))


def _lines(events: Sequence[Any]) -> list[str]:
    """Return what shows events, each from a line of its own, as a difference needs it."""
    return [
        f"  {line}"
        for event in events
        for line in pprint.pformat(event, width=_WIDTH, sort_dicts=False).splitlines()
    ]


def _difference(expected: Sequence[Any], decided: Sequence[Any]) -> str:
    """Return a sentence that says where they differ, and both, line by line."""
    pairs = zip(expected, decided, strict=False)
    place = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
    counts = f"Expected {len(expected)} event(s), decided {len(decided)}"
    where = "" if place is None else f"; number {place + 1} differs"
    old, new = _lines(expected), _lines(decided)
    if old == new:
        return f"{counts}{where}, though it looks alike: is == defined for it?\n{_show(decided)}"
    lines = map(str.rstrip, difflib.ndiff(old, new))
    return "\n".join([f"{counts}{where} (- expected, + decided):", *lines])

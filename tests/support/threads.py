"""Work at the same time as the test, whose failures are the test's."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.support.server import DEADLINE_SECONDS

_Result = TypeVar("_Result")


class Background(Generic[_Result]):
    """A call that runs in a thread of its own."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._results: list[_Result] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Tell whether the call has ended."""
        return not self._thread.is_alive()

    def result(self) -> _Result:
        """Return what the call returned, or raise what it raised, once it has ended."""
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()
        for error in self._errors:
            raise error
        return self._results[0]

    def _run(self, work: Callable[[], _Result]) -> None:
        try:
            self._results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`.
            self._errors.append(error)


def run_together(*works: Callable[[], _Result]) -> list[_Result]:
    """Run all works at the same time, and return their results in order."""
    running = [Background(work) for work in works]
    return [background.result() for background in running]

"""Work on a thread of its own, for what may never end: a disk that hangs, a pipe without a writer.

A pool would run out of threads, and Python waits for a pool when it ends. Nobody waits for these.
"""

import _thread
import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

_Result = TypeVar("_Result")


def call_on_thread(function: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Call a function on a new thread, and return the future of what it returns or raises.

    To be called on an event loop's thread. Whoever cancels the future does not end the thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not future.cancelled():
            set_outcome()

    def run() -> None:
        try:
            outcome = partial(future.set_result, function())
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits must learn of it.
            outcome = partial(future.set_exception, error)
        # The loop may have been closed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    # Not `threading`, whose `start` waits until the system lets the thread run.
    _thread.start_new_thread(run, ())
    return future

"""A client process: `python -m benchmarks.sessions.worker`, its task on standard input.

It connects, does one operation with each session, says `ready`, waits for `go`, works, says what it
did, and stays until standard input ends: what its connections cost can then still be counted.
What is left to others: starting it, adding up what several of them say, and reading the clock of
the server.
"""

import ctypes
import json
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from benchmarks.sessions.arrivals import Arrivals, Numbers, Times, arrive
from benchmarks.sessions.histogram import Histogram
from benchmarks.sessions.opening import create, fill, open_session
from benchmarks.sessions.session import NewEvent, Session
from benchmarks.sessions.works import WORKS, Context, Operation

# Threads are started with small stacks, since there may be hundreds.
_STACK_SIZE = 512 * 1024

_SET_TIMER_SLACK = 29


class Tally:
    """What one thread did; no other one writes to it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.operation_count = 0
        self.event_count = 0
        self.times = Histogram()
        self.arrivals: list[float] = []
        self.error = ""


def main() -> None:
    """Do a task."""
    task = json.loads(sys.stdin.readline())
    sleep_exactly()
    threading.stack_size(_STACK_SIZE)
    _TASKS[task["do"]](task)


def sleep_exactly() -> None:
    """Let the kernel end a sleep on time, where it would take up to 50 us more by default."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1, 0, 0, 0)


def _create(task: dict[str, Any]) -> None:
    create(task["session"], task["address"])
    _say({})


def _fill(task: dict[str, Any]) -> None:
    fill(task["session"], task["address"], task["event_count"])
    _say({})


def _load(task: dict[str, Any]) -> None:
    """Work without a pause, or at a given rate, until the time is over."""
    arrivals = None
    if task["rate"]:
        arrivals = Arrivals(task["rate"], seconds=task["seconds"], seed=task["first_session"])

    def work(tally: Tally, operate: Operation, numbers: Numbers, begin: float) -> None:
        if arrivals is not None:
            times = arrive(arrivals, operate, numbers, begin=begin)
        elif task["operations"]:
            times = _repeat_often(operate, numbers, operations=task["operations"])
        else:
            times = _repeat_until(operate, numbers, end=begin + task["seconds"])
        for seconds, events in times:
            tally.times.add(seconds)
            tally.operation_count += 1
            tally.event_count += events

    _run(task, work)


def _repeat_until(operate: Operation, numbers: Numbers, *, end: float) -> Times:
    """Yield how long each operation took, and its events, those included that end later.

    They are as much work as any, and the time that they take is counted, too.
    """
    after = time.perf_counter()
    while after < end:
        before = after
        events = operate(next(numbers))
        after = time.perf_counter()
        yield after - before, events


def _repeat_often(operate: Operation, numbers: Numbers, *, operations: int) -> Times:
    for _ in range(operations):
        before = time.perf_counter()
        events = operate(next(numbers))
        yield time.perf_counter() - before, events


def _run(task: dict[str, Any], work: Callable[..., None]) -> None:
    """Start a thread for each session, and let all of them work at once."""
    first, total = task["first_session"], task["total_sessions"]
    sessions = [open_session(task["session"], task["address"]) for _ in range(task["sessions"])]
    tallies = [Tally() for _ in sessions]
    are_ready = threading.Barrier(len(sessions) + 1)
    go = threading.Event()
    begin = [0.0]

    def run(index: int, session: Session, tally: Tally) -> None:
        context = Context(event_count=task["event_count"], run=task["run"], session=first + index)
        numbers = count(first + index, total)
        try:
            operate = WORKS[task["work"]](session, context)
            if task["warm"]:
                operate(next(numbers))
            are_ready.wait()
            go.wait()
            work(tally, operate, numbers, begin[0])
        except Exception as error:  # noqa: BLE001 - told to whoever asked for the work.
            tally.error = f"{type(error).__name__}: {error}"
            are_ready.abort()

    threads = [
        threading.Thread(target=run, args=(index, session, tally), daemon=True)
        for index, (session, tally) in enumerate(zip(sessions, tallies, strict=True))
    ]
    for thread in threads:
        thread.start()
    _wait_ready(are_ready, tallies)
    sys.stdin.readline()
    begin[0] = time.perf_counter()
    cpu = time.process_time()
    go.set()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin[0]
    cpu = time.process_time() - cpu
    _say(_summary(tallies) | {"seconds": seconds, "cpu_seconds": cpu})
    sys.stdin.readline()


def _wait_ready(are_ready: threading.Barrier, tallies: list[Tally]) -> None:
    try:
        are_ready.wait(120)
    except threading.BrokenBarrierError:
        raise RuntimeError(next(tally.error for tally in tallies if tally.error)) from None
    print("ready", flush=True)


def _summary(tallies: list[Tally]) -> dict[str, Any]:
    times = Histogram()
    for tally in tallies:
        times.update(tally.times)
    return {
        "operations": sum(tally.operation_count for tally in tallies),
        "events": sum(tally.event_count for tally in tallies),
        "times": times.counts(),
        "errors": [tally.error for tally in tallies if tally.error][:3],
    }


def _observe(task: dict[str, Any]) -> None:
    """Observe with each session, and say when each event arrived, by the clock of the machine."""
    sessions = [open_session(task["session"], task["address"]) for _ in range(task["sessions"])]
    tallies = [Tally() for _ in sessions]
    are_ready = threading.Barrier(len(tallies) + 1)

    def run(session: Session, tally: Tally) -> None:
        try:
            events = session.observe()
            next(events)
            are_ready.wait()
            for _ in range(task["event_count"]):
                next(events)
                tally.arrivals.append(time.monotonic())
        except Exception as error:  # noqa: BLE001 - told to whoever asked for the work.
            tally.error = f"{type(error).__name__}: {error}"
            are_ready.abort()

    threads = [
        threading.Thread(target=run, args=each, daemon=True)
        for each in zip(sessions, tallies, strict=True)
    ]
    for thread in threads:
        thread.start()
    _wait_ready(are_ready, tallies)
    cpu = time.process_time()
    sys.stdin.readline()
    deadline = time.monotonic() + task["seconds"]
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    arrivals = [tally.arrivals for tally in tallies]
    errors = [tally.error for tally in tallies if tally.error][:3]
    _say({"arrivals": arrivals, "errors": errors, "cpu_seconds": time.process_time() - cpu})


def _announce(task: dict[str, Any]) -> None:
    """Write events one by one, each a while after the other, and say when."""
    session = open_session(task["session"], task["address"])
    session.prepare_observing()
    print("ready", flush=True)
    sys.stdin.readline()
    times = []
    for number in range(task["event_count"]):
        begin = time.monotonic()
        session.write([NewEvent(f"/libraries/{number}/books/{number}", "{}")])
        times.append((begin, time.monotonic()))
        time.sleep(max(begin + task["pause"] - time.monotonic(), 0))
    _say({"times": times, "errors": []})


def _say(result: dict[str, Any]) -> None:
    print(json.dumps(result), flush=True)


_TASKS = {
    "create": _create,
    "fill": _fill,
    "load": _load,
    "observe": _observe,
    "announce": _announce,
}

if __name__ == "__main__":
    main()

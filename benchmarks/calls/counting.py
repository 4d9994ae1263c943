"""A server that counts its own calls: `python -m benchmarks.calls.counting run ...`.

It is `everlog`, with the same arguments, and a profiler's hook in each of its threads. A line on
standard input, `start`, forgets all calls; another, `stop`, prints those since then, as a line of
JSON among those of the log.

Counted are the calls of Everlog's own functions. A generator or a coroutine counts whenever it goes
on, since that is what it costs; a function that runs when counting starts does not. Counted apart
are calls of compiled functions that Everlog's functions make, and of functions of libraries that
are Python; the constructor of a named tuple is one of the latter, that of a `msgspec.Struct` is of
neither kind, since it is no call to Python.
Needs nothing of Everlog but its command, so that it can run sources of any age.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

# A function of Everlog; or who calls, and the compiled function or the library's.
_Key = CodeType | tuple[CodeType, str | CodeType]


class Counter:
    """Counts calls, each thread its own."""

    def __init__(self, folder: Path) -> None:
        """Count calls of functions whose sources are in a folder."""
        self._folder = f"{folder}{os.sep}"
        self._loop_thread = threading.get_ident()
        self._calls_by_thread: dict[int, dict[_Key, int]] = {}
        self._is_on = False

    def install(self) -> None:
        """Look at the calls of this thread, which is the event loop's, and of all new ones."""
        threading.setprofile(self._begin_thread)
        sys.setprofile(self._hook())

    def start(self) -> None:
        """Forget what was counted, and count."""
        for calls in self._calls_by_thread.values():
            calls.clear()
        self._is_on = True

    def stop(self) -> dict[str, Any]:
        """Return the calls since the start, each thread's in the order of their first one."""
        self._is_on = False
        loop = self._calls_by_thread[self._loop_thread]
        others = [calls for calls in self._calls_by_thread.values() if calls is not loop]
        return {
            "loop": list(self._render(loop)),
            "threads": [row for calls in others for row in self._render(calls)],
        }

    def _begin_thread(self, frame: FrameType, event: str, argument: Any) -> None:
        hook = self._hook()
        sys.setprofile(hook)
        hook(frame, event, argument)

    def _hook(self) -> Callable[[FrameType, str, Any], None]:
        calls: dict[_Key, int] = {}
        self._calls_by_thread[threading.get_ident()] = calls
        are_ours: dict[CodeType, bool] = {}

        def is_ours(code: CodeType) -> bool:
            found = are_ours.get(code)
            if found is None:
                found = are_ours[code] = code.co_filename.startswith(self._folder)
            return found

        def count(frame: FrameType, event: str, argument: Any) -> None:
            if not self._is_on or event not in {"call", "c_call"}:
                return
            code = frame.f_code
            key: _Key
            if event == "c_call":
                if not is_ours(code):
                    return
                key = (code, argument.__qualname__)
            elif is_ours(code):
                key = code
            else:
                caller = None if frame.f_back is None else frame.f_back.f_code
                key = (caller if caller is not None and is_ours(caller) else code, code)
            calls[key] = calls.get(key, 0) + 1

        return count

    def _render(self, calls: dict[_Key, int]) -> Iterator[dict[str, Any]]:
        for key, count in calls.copy().items():
            code, called = (key, None) if isinstance(key, CodeType) else key
            kind, text = "own", ""
            if isinstance(called, CodeType):
                kind, text = "library", f"{self._file(called)} {called.co_qualname}"
            elif called is not None:
                kind, text = "compiled", called
            yield {
                "file": self._file(code),
                "line": code.co_firstlineno,
                "function": code.co_qualname,
                "kind": kind,
                "called": text,
                "count": count,
            }

    def _file(self, code: CodeType) -> str:
        file = code.co_filename
        if file.startswith(self._folder):
            return file.removeprefix(self._folder)
        return "/".join(Path(file).parts[-2:])


def main() -> None:
    """Run the command of Everlog, and obey what standard input says meanwhile."""
    counter = Counter(_package_folder())
    threading.Thread(target=_obey, args=(counter,), daemon=True).start()
    counter.install()
    from everlog.cli import main as run_command  # noqa: PLC0415 - importing is not yet serving.

    run_command()


def _package_folder() -> Path:
    """Return where the package comes from that would be imported."""
    folders = (Path(path) / "everlog" for path in sys.path)
    return next(folder for folder in folders if (folder / "__init__.py").exists())


def _obey(counter: Counter) -> None:
    for line in sys.stdin:
        calls = None
        if line == "start\n":
            counter.start()
        else:
            calls = counter.stop()
        entry = json.dumps({"message": "counted", "calls": calls})
        # Whole, whatever the log writes meanwhile.
        os.write(sys.stdout.fileno(), entry.encode() + b"\n")


if __name__ == "__main__":
    main()

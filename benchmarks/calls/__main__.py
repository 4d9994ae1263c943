"""The command: how many calls each operation takes, and which."""

import argparse
import platform
from contextlib import ExitStack
from pathlib import Path

from benchmarks.calls.operations import OPERATIONS, Operation, fill
from benchmarks.calls.page import HEADING, render_calls, render_files, render_line, render_page
from benchmarks.calls.server import Counted, serve_counting
from benchmarks.machine import describe_machine
from benchmarks.revisions import ROOT, checked_out, name_of

PAGE = "calls.md"

_EPILOGUE = """examples:
  python -m benchmarks.calls                                  all operations
  python -m benchmarks.calls --only "write of one" --calls    each function, in order
  python -m benchmarks.calls --only read --files --compiled   files; and compiled functions
  python -m benchmarks.calls --base REVISION                  another revision beforehand
  python -m benchmarks.calls --checkout FOLDER                the sources of another checkout
"""


def main() -> None:
    """Count what is asked for, and print each operation as soon as it is known."""
    options = _parser().parse_args()
    chosen = [each for each in OPERATIONS if _is_chosen(each, options.only)]
    command = f".venv/bin/python -m benchmarks.calls --report {options.report}"
    machine = {
        "Python": platform.python_version(),
        "requests": f"the median of 5 rounds of {options.requests}",
    }
    before = None
    with ExitStack() as resources:
        if options.base is not None:
            command += f" --base {options.base}"
            machine["before"] = name_of(options.base)
            machine["now"] = describe_machine(ROOT)["commit"]
            sources = resources.enter_context(checked_out(options.base))
            before = _count(sources, chosen, options)
        now = _count(options.checkout.resolve(), chosen, options)
    if options.report is not None:
        options.report.mkdir(parents=True, exist_ok=True)
        page = render_page(machine, now, before, command=command)
        (options.report / PAGE).write_text(page, encoding="utf-8")


def _is_chosen(operation: Operation, texts: list[str] | None) -> bool:
    return texts is None or any(text in operation.name for text in texts)


def _count(
    checkout: Path, operations: list[Operation], options: argparse.Namespace
) -> dict[str, Counted]:
    kinds = [kind for kind in ("own", "compiled", "library") if getattr(options, kind)]
    measured = {}
    with serve_counting(checkout, options.flags.split()) as server:
        fill(server.port)
        print(HEADING)
        for operation in operations:
            counted = server.count(operation, requests=options.requests)
            measured[operation.name] = counted
            print(render_line(operation.name, counted), flush=True)
            if options.files:
                print(*render_files(counted), sep="\n")
            if kinds:
                print(*render_calls(counted, *kinds), sep="\n")
    return measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calls",
        description="Count the calls that requests take, which no other load changes.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="only operations with it in their name"
    )
    parser.add_argument("--files", action="store_true", help="list the files that are crossed")
    parser.add_argument("--calls", action="store_true", dest="own", help="list each function")
    parser.add_argument("--compiled", action="store_true", help="list what is called that is in C")
    parser.add_argument("--library", action="store_true", help="list what else is Python")
    parser.add_argument("--requests", type=int, default=40, metavar="N", help="of each round")
    parser.add_argument("--flags", default="", metavar="FLAGS", help="more flags of the server")
    parser.add_argument("--base", metavar="REVISION", help="count with its sources, too, and first")
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, metavar="FOLDER", help="whose sources to count"
    )
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write a page to a folder")
    return parser


if __name__ == "__main__":
    main()

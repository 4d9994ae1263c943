"""What people type: `lending borrow 42 23`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import everlog
from lending.books import NotAllowedError
from lending.library import Library
from lending.overview import Overview

EPILOG = """\
The store is a directory or the URL of a server, in the variable LENDING_STORE (default library.db);
the token of a server is in EVERLOG_API_TOKEN. The overview is a file, in the variable
LENDING_OVERVIEW (default overview.db).
"""

Do = Callable[[argparse.Namespace, Library, Overview], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the arguments say, or say why not."""
    options = _parser().parse_args(arguments)
    try:
        with _open(os.environ.get("LENDING_STORE", "library.db")) as store:
            file = Path(os.environ.get("LENDING_OVERVIEW", "overview.db"))
            options.do(options, Library(store), Overview(store, file))
    except (NotAllowedError, everlog.EverlogError) as error:
        sys.exit(f"lending: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _open(place: str) -> everlog.Store:
    if place.startswith(("http://", "https://")):
        return everlog.connect(place, token=os.environ["EVERLOG_API_TOKEN"])
    return everlog.open(place)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lending", description="A lending library.", epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, do: Do, *names: str, can_be_repeated: bool = True) -> None:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(do=do)
        for each in names:
            command.add_argument(each, metavar=each.upper())
        if can_be_repeated:
            text = "a text of your own, so that the same command can be given again"
            command.add_argument("--request", help=text)

    add("register", "Register a reader.", _register, "reader", "name", can_be_repeated=False)
    add("acquire", "Put a new book on the shelf.", _acquire, "book", "title", "author")
    add("borrow", "Lend a book to a reader.", _borrow, "book", "reader")
    add("return", "Take a book back.", _return, "book")
    add("remove", "Strike a book off.", _remove, "book", "reason")
    add("books", "Show which books there are, and who has them.", _show, can_be_repeated=False)
    add("follow", "Keep the overview up to date, until Ctrl-C.", _follow, can_be_repeated=False)
    return parser


def _register(options: argparse.Namespace, library: Library, _: Overview) -> None:
    library.register(options.reader, name=options.name)


def _acquire(options: argparse.Namespace, library: Library, _: Overview) -> None:
    values = {"title": options.title, "author": options.author, "request": options.request}
    library.acquire(options.book, **values)


def _borrow(options: argparse.Namespace, library: Library, _: Overview) -> None:
    library.borrow(options.book, reader=options.reader, request=options.request)


def _return(options: argparse.Namespace, library: Library, _: Overview) -> None:
    library.give_back(options.book, request=options.request)


def _remove(options: argparse.Namespace, library: Library, _: Overview) -> None:
    library.remove(options.book, reason=options.reason, request=options.request)


def _show(_: argparse.Namespace, __: Library, overview: Overview) -> None:
    overview.update()
    for line in overview.lines():
        author = f" by {line.author}" if line.author else ""
        where = f"lent to {line.reader}" if line.reader else "on the shelf"
        print(f"{line.number}: {line.title}{author}, {where} (loans: {line.loans})")


def _follow(_: argparse.Namespace, __: Library, overview: Overview) -> None:
    overview.follow()

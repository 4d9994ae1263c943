"""The shell of `everlog query`: queries one after the other, with a history and completion.

It is read by prompt_toolkit where that is installed (`everlog[shell]`), and by readline where not.
What both need is here: when a text is a whole query, what could stand at its end, and commands that
are no queries.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import click

from everlog.cli.faults import describe_error
from everlog.cli.printing import FORMATS
from everlog.cli.read import COLUMNS
from everlog.domain.errors import EverlogError
from everlog.eventql.diagnostic import QueryMalformedError
from everlog.eventql.evaluation.catalogue import AGGREGATES, FUNCTIONS
from everlog.eventql.language.lexer import RESERVED_WORDS
from everlog.eventql.language.parser import parse
from everlog.texts import to_printable

if TYPE_CHECKING:
    from everlog.library.store import Store

# Where an old query is found again, as the XDG base directory specification has it.
HISTORY_VARIABLE: Final = "EVERLOG_HISTORY_FILE"
_HISTORY_NAME: Final = "everlog/query-history"
_HISTORY_COUNT_MAX: Final = 1_000

PROMPT: Final = "everlog> "
PROMPT_GOING_ON: Final = "    ...> "

# Names of the store that are offered; more than that help nobody.
_NAMES_MAX: Final = 1_000

_HELP: Final = f"""\
A query ends with ; or an empty line, or with its line where it is whole:
  FROM e IN events PROJECT INTO e.subject
Tab completes keywords, functions, members, and the store's subjects and event types.

  \\explain QUERY   how a query would be answered
  \\format NAME     {", ".join(FORMATS)}
  \\subjects        what is there
  \\types           what has happened
  \\help            this text
  \\quit            the end; so does Ctrl-D
"""

_COMMANDS: Final = ("\\explain", "\\format", "\\help", "\\quit", "\\subjects", "\\types")

# What a word consists of that can be completed; within quotes, a subject or an event type.
_find_word: Final = re.compile(r"(\\?[\w.]*)$").search
_find_quoted: Final = re.compile(r"""(?:'([^']*)|"([^"]*))$""").search

Ask = Callable[[str, str | None], int]


class LineReader(Protocol):
    """Asks for a line at a terminal."""

    def read(self, prompt: str) -> str:
        """Return a line; raises EOFError at the end, KeyboardInterrupt for ^C."""

    def remember(self, text: str) -> None:
        """Keep a query for later."""


class Completion(NamedTuple):
    """What could stand at the end of a text, and how much of the text it replaces."""

    text: str
    replaced_length: int


class Names:
    """What can be completed: the words of the language, and the names that a store has."""

    def __init__(self, store: "Store") -> None:
        """Ask the store nothing yet."""
        self._store: Final = store
        self._names: list[str] | None = None
        self._words: Final = sorted({*RESERVED_WORDS, "EXPLAIN", *FUNCTIONS, *AGGREGATES})

    def complete(self, text: str) -> list[Completion]:
        """Return what could stand at the end of a text, which is all before the cursor."""
        # Quotes that are closed are none.
        quoted = _find_quoted(_without_strings(text))
        if quoted is not None:
            beginning = quoted[1] if quoted[1] is not None else quoted[2]
            names = self._of_store()
            return [
                Completion(name, len(beginning)) for name in names if name.startswith(beginning)
            ]
        match = _find_word(text)
        word = "" if match is None else match[1]
        if word.startswith("\\"):
            return [Completion(name, len(word)) for name in _COMMANDS if name.startswith(word)]
        head, dot, tail = word.rpartition(".")
        if dot:
            members = () if "." in head else COLUMNS
            return [Completion(name, len(tail)) for name in members if name.startswith(tail)]
        if not word:
            return []
        beginning = word.upper()
        return [Completion(name, len(word)) for name in self._words if name.startswith(beginning)]

    def _of_store(self) -> list[str]:
        if self._names is None:
            self._names = []
            with suppress(EverlogError):
                subjects = islice(self._store.subjects("/"), _NAMES_MAX)
                types = (each.name for each in islice(self._store.event_types(), _NAMES_MAX))
                self._names = [*types, *subjects]
        return self._names


def _without_strings(text: str) -> str:
    return re.sub(r"""'[^']*'|"[^"]*\"""", "", text)


def is_whole(text: str) -> bool:
    """Tell whether a text is a query, or is wrong in a way that more text does not mend."""
    if not text.strip() or text.rstrip().endswith(";"):
        return True
    try:
        parse(text)
    except QueryMalformedError as error:
        return error.diagnostics[0].span.start < len(text.rstrip())
    return True


def run_shell(store: "Store", name: str, form: str | None, ask: Ask) -> None:
    """Ask for queries at the terminal, and answer each, until there are no more."""
    shell = _Shell(store, form, ask)
    reader = _open_reader(Names(store))
    click.echo(f"Everlog, {to_printable(name)}; \\help tells more, \\quit or Ctrl-D ends", err=True)
    while True:
        try:
            text = _read_query(reader)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if not text:
            continue
        reader.remember(text)
        try:
            if not shell.take(text):
                return
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
        except EverlogError as error:
            click.echo(describe_error(error, text), err=True)


def _read_query(reader: LineReader) -> str:
    lines: list[str] = []
    while True:
        line = reader.read(PROMPT_GOING_ON if lines else PROMPT)
        lines.append(line)
        text = "\n".join(lines)
        if text.startswith("\\") or not line.strip() or is_whole(text):
            return text.strip().removesuffix(";").strip()


class _Shell:
    """What the shell does with a text."""

    def __init__(self, store: "Store", form: str | None, ask: Ask) -> None:
        self._store: Final = store
        self._form = form
        self._ask: Final = ask

    def take(self, text: str) -> bool:
        """Answer a query, or do what a command says; return whether to go on."""
        command, _, rest = text.partition(" ")
        if command in {"\\quit", "\\q", "quit", "exit"}:
            return False
        match command:
            case "\\help" | "\\?" | "help":
                click.echo(_HELP, nl=False)
            case "\\format" if rest.strip() in FORMATS:
                self._form = rest.strip()
            case "\\format":
                click.echo(f"Formats are {', '.join(FORMATS)}.", err=True)
            case "\\explain":
                self._ask(f"EXPLAIN {rest}", self._form)
            case "\\subjects":
                self._list(self._store.subjects("/"))
            case "\\types":
                self._list(each.name for each in self._store.event_types())
            case _ if command.startswith("\\"):
                click.echo(f"There is no command {to_printable(command)}; see \\help.", err=True)
            case _:
                self._ask(text, self._form)
        return True

    def _list(self, names: Iterator[str]) -> None:
        for name in names:
            click.echo(to_printable(name))


def history_file() -> Path | None:
    """Return where queries are kept, None where they are not; its folder is there, for us only."""
    named = os.environ.get(HISTORY_VARIABLE)
    if named == "":
        return None
    if named is not None:
        path = Path(named)
    else:
        state = os.environ.get("XDG_STATE_HOME")
        try:
            folder = Path(state) if state else Path.home() / ".local" / "state"
        except RuntimeError:
            return None
        path = folder / _HISTORY_NAME
    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        # Queries may name what is nobody else's business.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        return None
    return path


def _open_reader(names: Names) -> LineReader:
    try:
        from everlog.cli.shell_prompt import PromptReader
    except ImportError:
        return ReadlineReader(names)
    return PromptReader(names.complete, history_file())


class ReadlineReader:
    """Lines by what Python itself has: readline where that is there."""

    def __init__(self, names: Names) -> None:
        """Load the history, and complete with Tab."""
        self._names: Final = names
        self._history: Final = history_file()
        self._found: list[str] = []
        try:
            import readline
        except ImportError:
            self._readline = None
            return
        self._readline = readline
        readline.set_completer(self._complete)
        # A word is what stands between these: paths and quoted names are one.
        readline.set_completer_delims(" \t\n'\"(,{[.=<>+-*")
        is_editline = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_editline else "tab: complete")
        readline.set_auto_history(False)
        if self._history is not None:
            with suppress(OSError):
                readline.read_history_file(self._history)

    def read(self, prompt: str) -> str:
        """Return a line; raises EOFError at the end, KeyboardInterrupt for ^C."""
        try:
            return input(prompt)
        except (KeyboardInterrupt, EOFError):
            click.echo()
            raise

    def remember(self, text: str) -> None:
        """Keep a query for later, on one line."""
        if self._readline is None:
            return
        self._readline.add_history(" ".join(text.splitlines()))
        if self._history is not None:
            self._readline.set_history_length(_HISTORY_COUNT_MAX)
            with suppress(OSError):
                self._readline.write_history_file(self._history)

    def _complete(self, word: str, state: int) -> str | None:
        assert self._readline is not None
        if state == 0:
            text = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            self._found = [
                # What is completed may begin before the word.
                each.text[max(0, each.replaced_length - len(word)) :]
                for each in self._names.complete(text)
            ]
        return self._found[state] if state < len(self._found) else None

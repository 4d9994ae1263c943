"""Lines of the query shell by prompt_toolkit, which is there with `everlog[shell]`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

# What could stand at the end of a text, each with how much of the text it replaces.
Complete = Callable[[str], Iterable[tuple[str, int]]]


class PromptReader:
    """Asks for a line, with completion while it is typed."""

    def __init__(self, complete: Complete, history_file: Path | None) -> None:
        """Load the history."""
        self._history: Final[History] = (
            InMemoryHistory() if history_file is None else FileHistory(str(history_file))
        )
        self._session: Final[PromptSession[str]] = PromptSession(
            # A query is kept as a whole, when it is one.
            history=_Kept(self._history),
            # A store may take a moment to tell its names.
            completer=ThreadedCompleter(_NameCompleter(complete)),
            complete_while_typing=False,
            enable_history_search=True,
        )

    def read(self, prompt: str) -> str:
        """Return a line; raises EOFError at the end, KeyboardInterrupt for ^C."""
        return self._session.prompt(prompt)

    def remember(self, text: str) -> None:
        """Keep a query for later."""
        self._history.append_string(text)


class _Kept(History):
    """Another history, to which single lines are not added."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history: Final = history

    def load_history_strings(self) -> Iterable[str]:
        return self._history.load_history_strings()

    def store_string(self, string: str) -> None:
        """Store nothing: `PromptReader.remember` does."""


class _NameCompleter(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete: Final = complete

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        for text, replaced_length in self._complete(document.text_before_cursor):
            yield Completion(text, start_position=-replaced_length)

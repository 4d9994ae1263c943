"""Generated Python: source text that holds nothing of the query's own text.

Whatever comes from a query (constants, names of fields, functions) is handed to the generated
code as an object in its namespace, under a name made here: a letter and a number. The source
consists of such names, of Python's own words, and of a fixed set of attributes.

Each call that may fail stands at the beginning of a line of its own, and each field that may be
one that cannot be read on a line of its own, so that the line of a traceback tells which
expression failed, and a row that does not fail pays nothing for it.
What is left to others: what the source says.
"""

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple

from everlog.eventql.diagnostic import Span
from everlog.eventql.types import Type

_FILE_NAME: Final = "<generated from a query>"

# Where a line says which call stands in it: as its name, or in a comment.
_SITE: Final = re.compile(r"\s*x(\d+)\(|.*# x(\d+)$")


class Code(NamedTuple):
    """A Python expression, in parentheses or a call or a name, and what is known of its value."""

    text: str
    type: Type
    # How many functions of `Value`s its evaluation nests, for Python's parser has limits.
    depth: int = 0
    # Reading it a second time costs nothing and gives the same.
    is_name: bool = False
    # Made of nothing but constants, and evaluated already: a name in the namespace.
    is_constant: bool = False
    # The text of an event's time stands for the moment.
    is_event_time: bool = False
    # Where decoded JSON is read, in which integers of arrays and records may still be beyond 64
    # bits; None of all other values.
    decoded_at: Span | None = None
    # An upper bound on the items, keys and characters of the value.
    size_max: int = 32


class GeneratedModule:
    """The namespace and the functions generated for one query."""

    def __init__(self) -> None:
        self._namespace: dict[str, Any] = {"__builtins__": _BUILTINS}
        self._names: dict[int, str] = {}
        self._functions: list[str] = []
        self._spans: list[Span] = []
        self._count = 0
        self._line_spans: dict[int, Span] = {}
        self.source = ""

    def constant(self, value: Any) -> str:
        """Return the name of an object; the same object has the same name."""
        name = self._names.get(id(value))
        if name is None:
            # The namespace keeps the object alive, so that its id stays its own.
            name = self._names[id(value)] = self._new_name("c")
            self._namespace[name] = value
        return name

    def temporary(self) -> str:
        """Return the name of a local variable that nobody else uses."""
        return self._new_name("t")

    def call(self, function: Callable[..., Any], span: Span, *arguments: str) -> str:
        """Return a call that may fail, because of the expression at a span."""
        name = f"x{len(self._spans)}"
        self._spans.append(span)
        self._namespace[name] = function
        return f"\n{name}({', '.join(arguments)})"

    def reading(self, text: str, span: Span) -> str:
        """Return code on a line of its own that may fail, because of the field at a span."""
        self._spans.append(span)
        return f"(\n{text}  # x{len(self._spans) - 1}\n)"

    def failing_line(self, statement: str, span: Span) -> str:
        """Return a statement of one line that may fail, because of the expression at a span."""
        self._spans.append(span)
        return f"{statement}  # x{len(self._spans) - 1}"

    def function(self, parameters: str, body: list[str]) -> str:
        """Add a function and return its name; it exists after `finish`."""
        name = self._new_name("f")
        self._functions.append("\n".join([f"def {name}({parameters}):", *body]))
        return name

    def expression_function(self, parameters: str, code: Code) -> str:
        """Add a function that returns an expression's value."""
        return self.function(parameters, [f" return ({code.text})"])

    def evaluate(self, code: Code) -> Any:
        """Return the value of an expression of constants, at once."""
        # Nothing of the query's text is in the code, see the module's text.
        return eval(f"({code.text})", self._namespace)  # noqa: S307 - see above.

    def finish(self) -> None:
        """Compile all functions that were added."""
        self.source = "\n".join(self._functions)
        for number, line in enumerate(self.source.split("\n"), 1):
            match = _SITE.match(line)
            if match is not None:
                self._line_spans[number] = self._spans[int(match[1] or match[2])]
        program = compile(self.source, _FILE_NAME, "exec", dont_inherit=True)
        exec(program, self._namespace)  # noqa: S102 - nothing of the query's text is in it.

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """Return a finished function."""
        function: Callable[..., Any] = self._namespace[name]
        return function

    def span_of(self, traceback: TracebackType | None) -> Span | None:
        """Return the place of the expression whose evaluation failed; None if it is not known."""
        span = None
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == _FILE_NAME:
                span = self._line_spans.get(traceback.tb_lineno, span)
            traceback = traceback.tb_next
        return span

    def _new_name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"


# What generated code may call by its own name.
_BUILTINS: Final = {
    "bool": bool,
    "dict": dict,
    "enumerate": enumerate,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "str": str,
    "type": type,
}

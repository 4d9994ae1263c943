"""Generated Python: source text that holds nothing of the query's own text.

Whatever comes from a query (constants, names of fields, functions) is handed to the generated
code as an object in its namespace, under a name made here: a letter and a number. The source
consists of such names, of Python's own words, and of a fixed set of attributes.

Each call that may fail stands at the beginning of a line of its own, and each field that may be
one that cannot be read on a line of its own, so that the line of a traceback tells which
expression failed, and a row that does not fail pays nothing for it.

A program is compiled once for a plan, and bound for each execution: what only that knows (the
time, chance, the key to sign with) has a name in the source too, and its value by then.
What is left to others: what the source says.
"""

import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple

from everlog.eventql.analysis.analyzed import Constant
from everlog.eventql.diagnostic import Span
from everlog.eventql.planning.plan import EvaluationContext
from everlog.eventql.types import Type

_FILE_NAME: Final = "<generated from a query>"

# Where a line says which call stands in it: as its name, or in a comment.
_SITE: Final = re.compile(r"\s*x(\d+)\(|.*# x(\d+)$")


# Finds out a value when a program is bound; it may ask for those that were named before it.
Fixed = Callable[[EvaluationContext, Mapping[str, Any]], Any]
Functions = Mapping[str, Callable[..., Any]]


class Code(NamedTuple):
    """A Python expression, in parentheses or a call or a name, and what is known of its value."""

    text: str
    type: Type
    # How many functions of `Value`s its evaluation nests, for Python's parser has limits.
    depth: int = 0
    # Reading it a second time costs nothing and gives the same.
    is_name: bool = False
    # The value, where it is known.
    constant: Constant | None = None
    # A name whose value is known once the program is bound.
    is_fixed: bool = False
    # The text of an event's time stands for the moment.
    is_event_time: bool = False
    # Where decoded JSON is read, in which integers of arrays and records may still be beyond 64
    # bits; None of all other values.
    decoded_at: Span | None = None
    # An upper bound on the items, keys and characters of the value.
    size_max: int = 32

    @property
    def is_same_for_all(self) -> bool:
        """Whether the value is the same for all rows of an execution."""
        return self.is_fixed or self.constant is not None


class Program:
    """What was generated for one plan: compiled, and the same for every execution."""

    def __init__(
        self,
        source: str,
        constants: dict[str, Any],
        fixed: dict[str, Fixed],
        spans: dict[int, Span],
    ) -> None:
        self.source: Final = source
        self._code: Final = compile(source, _FILE_NAME, "exec", dont_inherit=True)
        self._constants: Final = constants
        self._fixed: Final = fixed
        self._spans: Final = spans
        # Without anything that is fixed, all executions have the same functions.
        self._functions: Final = None if fixed else self._namespace_with({})

    def bind(self, context: EvaluationContext) -> Functions:
        """Return the functions of the program, by their names, for one execution."""
        if self._functions is not None:
            return self._functions
        values: dict[str, Any] = {}
        for name, find in self._fixed.items():
            values[name] = find(context, values)
        return self._namespace_with(values)

    def span_of(self, traceback: TracebackType | None) -> Span | None:
        """Return the place of the expression whose evaluation failed; None if it is not known."""
        span = None
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == _FILE_NAME:
                span = self._spans.get(traceback.tb_lineno, span)
            traceback = traceback.tb_next
        return span

    def _namespace_with(self, fixed: dict[str, Any]) -> Functions:
        # A namespace of its own, since functions look names up where they were defined.
        namespace = {"__builtins__": _BUILTINS, **self._constants, **fixed}
        exec(self._code, namespace)  # noqa: S102 - nothing of the query's text is in it.
        return namespace


class GeneratedModule:
    """The namespace and the functions that are being generated for one plan."""

    def __init__(self) -> None:
        self._constants: dict[str, Any] = {}
        self._fixed: dict[str, Fixed] = {}
        self._names: dict[int, str] = {}
        self._functions: list[str] = []
        self._spans: list[Span] = []
        self._count = 0

    def constant(self, value: Any) -> str:
        """Return the name of an object; the same object has the same name."""
        name = self._names.get(id(value))
        if name is None:
            # The namespace keeps the object alive, so that its id stays its own.
            name = self._names[id(value)] = self._new_name("c")
            self._constants[name] = value
        return name

    def fixed(self, find: Fixed) -> str:
        """Return the name of what is found out for each execution; the same for the same one."""
        name = self._names.get(id(find))
        if name is None:
            name = self._names[id(find)] = self._new_name("u")
            self._fixed[name] = find
        return name

    def temporary(self) -> str:
        """Return the name of a local variable that nobody else uses."""
        return self._new_name("t")

    def call(self, function: Callable[..., Any], span: Span, *arguments: str) -> str:
        """Return a call that may fail, because of the expression at a span."""
        name = f"x{len(self._spans)}"
        self._spans.append(span)
        self._constants[name] = function
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
        """Add a function and return its name; it exists in the finished program."""
        name = self._new_name("f")
        self._functions.append("\n".join([f"def {name}({parameters}):", *body]))
        return name

    def expression_function(self, parameters: str, code: Code) -> str:
        """Add a function that returns an expression's value."""
        return self.function(parameters, [f" return ({code.text})"])

    def finish(self) -> Program:
        """Return the program of all functions that were added."""
        source = "\n".join(self._functions)
        spans = {}
        for number, line in enumerate(source.split("\n"), 1):
            match = _SITE.match(line)
            if match is not None:
                spans[number] = self._spans[int(match[1] or match[2])]
        return Program(source, self._constants, self._fixed, spans)

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

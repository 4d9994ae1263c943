"""Write what is told of EventQL's functions from the catalogue, to people and to the editor.

That is the page `docs/eventql/functions.md`, and the module with which the management UI completes
and helps, `ui/browser/model/functions.js`.

Guarantees: every function and aggregate is in both, with the kinds that it takes and returns;
the same catalogue gives the same bytes. Tests see that both are current, and that each example
evaluates to what it says.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from everlog.eventql.evaluation.catalogue import (
    AGGREGATES,
    FUNCTIONS,
    Aggregate,
    Parameter,
    ScalarFunction,
    Section,
)
from everlog.eventql.limits import STRING_LENGTH_MAX
from everlog.eventql.types import ANY, NULL, NUMBER, Kind, Type

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "eventql" / "functions.md"
MODULE = REPOSITORY / "src" / "everlog" / "ui" / "browser" / "model" / "functions.js"

INTRODUCTION = f"""\
# Functions and aggregates

All functions and aggregates of EventQL.
Their names may be written in any casing.

A function is `NULL` where one of its arguments is, or `FALSE` if its results are BOOLEANs; \
`IF` is the only exception.
Nothing is converted unasked: an argument of another kind is an error, and `AS` converts it.
So is a result that a 64-bit INT or a finite FLOAT64 cannot hold, \
or a STRING of more than {STRING_LENGTH_MAX:,} characters.
A character is a Unicode code point.

Below, a `number` is an INT or a FLOAT64, `any` is any kind, and `same` is the kind of the argument.

This page is made from the source by `tools/eventql_functions.py`; its examples are tests.
"""

AGGREGATES_INTRODUCTION = """\
An aggregate makes one value of the values of many rows: of all rows, \
or with `GROUP BY` of those of each group.
It may stand in `PROJECT INTO`, `HAVING`, and the `ORDER BY` of a query with `GROUP BY`.
Rows where its argument is `NULL` are left out, and a value of another kind is an error.

Sums are exact, and rounded once at the end: the order of rows makes no difference.
It does for `FIRST`, `LAST` and `UNIQUE`: rows come in the order of the log, \
or without `GROUP BY` in that of `ORDER BY`.
"""


def functions_page() -> str:
    """Return the page."""
    return "\n".join(_paragraphs()).rstrip("\n") + "\n"


def _paragraphs() -> Iterator[str]:
    yield INTRODUCTION
    for section in Section:
        yield f"## {_title(section)}\n"
        if section is Section.AGGREGATE:
            yield AGGREGATES_INTRODUCTION
            for aggregate in AGGREGATES.values():
                yield from _aggregate(aggregate)
        for function in FUNCTIONS.values():
            if function.section is section:
                yield from _function(function)


def _title(section: Section) -> str:
    return "Aggregates" if section is Section.AGGREGATE else f"{section} functions"


def _function(function: ScalarFunction) -> Iterator[str]:
    yield f"### {function.name}\n"
    yield f"```text\n{_function_signature(function)}\n```\n"
    yield f"{function.summary}\n"
    if function.examples:
        yield _table(("expression", "value"), function.examples)


def _aggregate(aggregate: Aggregate) -> Iterator[str]:
    yield f"### {aggregate.name}\n"
    yield f"```text\n{_aggregate_signature(aggregate)}\n```\n"
    yield f"{aggregate.summary}\n"
    yield _table(("values", "result"), aggregate.examples)


def _function_signature(function: ScalarFunction) -> str:
    types = tuple(parameter.types for parameter in function.parameters)
    return _signature(function.name, function.parameters, function.result(types))


def _aggregate_signature(aggregate: Aggregate) -> str:
    parameter = aggregate.parameter
    return _signature(aggregate.name, (parameter,), aggregate.result(parameter.types))


def _signature(name: str, parameters: tuple[Parameter, ...], result: Type) -> str:
    declared = ""
    for index, parameter in enumerate(parameters):
        separator = ", " if index else ""
        text = f"{separator}{parameter.name}: {_kinds(parameter.types)}"
        declared += f"[{text}]" if parameter.is_optional else text
        declared += ", ..." if parameter.is_repeated else ""
    return f"{name}({declared}) -> {_result(parameters, result)}"


def _result(parameters: tuple[Parameter, ...], result: Type) -> str:
    is_same = len(parameters) == 1 and result - NULL == parameters[0].types and len(result) > 1
    kinds = "same" if is_same else _kinds(result - NULL)
    return f"{kinds} | NULL" if result >= NULL and kinds != "any" else kinds


def _kinds(types: Type) -> str:
    if types | NULL == ANY:
        return "any"
    if types >= NUMBER:
        # Numbers stand where the first of them would.
        names = [kind.value for kind in Kind if kind in types and kind is not Kind.FLOAT64]
        return " | ".join("number" if name == Kind.INT else name for name in names)
    return " | ".join(kind.value for kind in Kind if kind in types)


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|"]
    lines += [f"| `{left}` | `{right}` |" for left, right in rows]
    return "\n".join(lines) + "\n"


MODULE_HEAD = """\
/**
 * All functions and aggregates of EventQL, with what helps who writes a call.
 *
 * Made from the server's catalogue by `tools/eventql_functions.py`; do not change it by hand.
 */

/** @type {{name: string, signature: string, summary: string, examples: string[][]}[]} */
export const FUNCTIONS = """


def functions_module() -> str:
    """Return the module of the management UI."""
    entries: list[dict[str, object]] = [
        _entry(function.name, _function_signature(function), function)
        for function in FUNCTIONS.values()
    ]
    entries += [
        _entry(aggregate.name, _aggregate_signature(aggregate), aggregate)
        for aggregate in AGGREGATES.values()
    ]
    return f"{MODULE_HEAD}{json.dumps(entries, ensure_ascii=False, indent=2)};\n"


def _entry(name: str, signature: str, described: ScalarFunction | Aggregate) -> dict[str, object]:
    return {
        "name": name,
        "signature": signature,
        "summary": described.summary,
        "examples": [list(example) for example in described.examples],
    }


def main() -> None:
    """Write the page and the module."""
    for path, text in ((PAGE, functions_page()), (MODULE, functions_module())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The scope of a query: which names its sources have, and which fields `e.data.price` leads to.

Every query has a scope of its own; a subquery sees nothing of the query around it. Whether a path
exists, of which type it is, and what was meant if it does not exist, is decided here.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    Constant,
    FieldAccess,
    GroupKey,
    LogSource,
    RecordOf,
    TypedExpression,
)
from everlog.eventql.diagnostic import Reporter, enumerate_kinds
from everlog.eventql.evaluation.catalogue import FUNCTIONS
from everlog.eventql.language.hints import FOREIGN_FIELDS, nearest
from everlog.eventql.language.syntax import Name, Path
from everlog.eventql.types import ANY, EVENT_FIELDS, JSON, NULL, RECORD, STRING, Kind, Type

# The only field of an event below which there are others.
DATA: Final = "data"


class SourceInScope(NamedTuple):
    """A source and its place in the query; None stands for one that is wrong in itself."""

    place: int
    source: LogSource | AnalyzedQuery | None


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that expressions of one query can begin with."""

    sources: dict[str, SourceInScope]
    # What stands in the queries around this one, to tell that it cannot be used here.
    outer_aliases: frozenset[str]


class UnknownFieldError(Exception):
    """A path begins with a field that the rows of its source never have."""


def type_of_path(source: LogSource | AnalyzedQuery, path: tuple[str, ...]) -> Type:
    """Return the type of a field, or with an empty path that of the source's rows.

    An event has just the fields that it has, a name none at all: raises `UnknownFieldError`.
    What is in `data`, and what a subquery leaves out, is NULL where it is missing.
    """
    match source:
        case LogSource.EVENTS:
            return _type_of_event_path(path)
        case LogSource.SUBJECTS | LogSource.EVENT_TYPES:
            if path:
                raise UnknownFieldError
            return STRING
        case AnalyzedQuery():
            return _type_of_row_path(source, path)
        case _:
            assert_never(source)


def _type_of_event_path(path: tuple[str, ...]) -> Type:
    if not path:
        return RECORD
    if path[0] not in EVENT_FIELDS:
        raise UnknownFieldError
    if len(path) == 1:
        return EVENT_FIELDS[path[0]]
    return JSON if path[0] == DATA else NULL


def _type_of_row_path(query: AnalyzedQuery, path: tuple[str, ...]) -> Type:
    """Follow a path through what a subquery projects, down to where its values come from."""
    expression: TypedExpression = query.projection
    while True:
        match expression:
            case FieldAccess(source=index, path=start):
                source = query.sources[index]
                path = start + path
                if not isinstance(source, AnalyzedQuery):
                    return _type_of_log_path(source, path)
                query, expression = source, source.projection
            case RecordOf(keys=keys, values=values) if path:
                if path[0] not in keys:
                    return NULL
                expression, path = values[keys.index(path[0])], path[1:]
            case GroupKey():
                # The analyzer puts these into queries with a key only.
                assert query.group_key is not None
                expression = query.group_key
            case _:
                return _type_below(expression, path)


def _type_of_log_path(source: LogSource, path: tuple[str, ...]) -> Type:
    """Return the type of a path that was not written for this source: it may lead nowhere."""
    try:
        return type_of_path(source, path)
    except UnknownFieldError:
        return NULL


def _type_below(expression: TypedExpression, path: tuple[str, ...]) -> Type:
    """Return the type of a path through a value of which no more is known than its own type."""
    if not path:
        return expression.type
    # Not only JSON: the record may be an event or be made by the query, and contain dates.
    return ANY if Kind.RECORD in expression.type else NULL


_ALIASES_TOLD_MAX: Final = 4

# More than for other names: what is no typing error is meant to be a field of `data`, such as
# `title`, which has 0.67 with `time`.
_FIELD_LIKENESS_MIN: Final = 0.7


def type_path(path: Path, scope: Scope, reporter: Reporter) -> TypedExpression:
    """Return the field that a path leads to; report that it leads nowhere."""
    found = scope.sources.get(path.alias.text)
    if found is None:
        reporter.report(
            f"unknown name {reporter.quote(path.alias.span)}",
            path.alias.span,
            hint=lambda: _hint_for_alias(path, scope, reporter),
        )
        return Constant(None, ANY, path.span)
    fields = tuple(name.text for name in path.fields)
    if found.source is None:
        return FieldAccess(found.place, fields, ANY, path.span)
    try:
        type_ = type_of_path(found.source, fields)
    except UnknownFieldError:
        _report_unknown_field(path, found.source, reporter)
        return Constant(None, ANY, path.span)
    return FieldAccess(found.place, fields, type_, path.span)


def _report_unknown_field(
    path: Path, source: LogSource | AnalyzedQuery, reporter: Reporter
) -> None:
    field, alias = path.fields[0], path.alias.text
    if source is LogSource.EVENTS:
        reporter.report(
            f"events have no field {reporter.quote(field.span)}",
            field.span,
            hint=lambda: f"did you mean '{_probable_field(path, reporter)}'?",
        )
    else:
        reporter.report(
            f"{reporter.quote(path.alias.span)} is {enumerate_kinds(STRING)}, "
            f"and only records have fields",
            field.span,
            hint=f"use {alias} alone",
        )


def _probable_field(path: Path, reporter: Reporter) -> str:
    """Return the field of an event that was probably meant: one with such a name, or of `data`."""
    field, alias = path.fields[0], path.alias.text
    found = nearest(
        field.text, EVENT_FIELDS, foreign=FOREIGN_FIELDS, likeness_min=_FIELD_LIKENESS_MIN
    )
    if found is None:
        return _spell(alias, DATA, *path.fields, reporter=reporter)
    return _spell(alias, found, *path.fields[1:], reporter=reporter)


def _hint_for_alias(path: Path, scope: Scope, reporter: Reporter) -> str:
    name = path.alias.text
    if name in scope.outer_aliases:
        return "a subquery sees its own sources only"
    if not path.fields and _needs_no_argument(name):
        return f"did you mean '{name.upper()}()'?"
    if name in EVENT_FIELDS:
        for alias, (_, source) in scope.sources.items():
            if source is LogSource.EVENTS:
                meant = _spell(alias, name, *path.fields, reporter=reporter)
                return f"did you mean '{meant}'?"
    found = nearest(name, scope.sources)
    if found is not None:
        return f"did you mean '{_spell(found, *path.fields, reporter=reporter)}'?"
    aliases = [f"'{alias}'" for alias in scope.sources][:_ALIASES_TOLD_MAX]
    if len(scope.sources) == 1:
        return f"the only source here is {aliases[0]}"
    return f"the sources here are {', '.join(aliases)}"


def _needs_no_argument(name: str) -> bool:
    function = FUNCTIONS.get(name.upper())
    return function is not None and all(each.is_optional for each in function.parameters)


def _spell(*parts: str | Name, reporter: Reporter) -> str:
    """Return a path as it is written; names of the text keep their quotes."""
    return ".".join(
        part if isinstance(part, str) else reporter.excerpt(part.span) for part in parts
    )

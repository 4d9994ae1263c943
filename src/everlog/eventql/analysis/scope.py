"""The scope of a query: which names its sources have, and what their fields can be.

Every query has a scope of its own; a subquery sees nothing of the query around it. Whether a path
exists, and of which type it is, is decided here.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    FieldAccess,
    GroupKey,
    LogSource,
    RecordOf,
    TypedExpression,
)
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

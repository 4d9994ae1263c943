"""Paths: which field of which source `e.data.price` is, and what was meant if it is none."""

from typing import Final

from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    Constant,
    FieldAccess,
    LogSource,
    TypedExpression,
)
from everlog.eventql.analysis.names import FOREIGN_FIELDS, nearest
from everlog.eventql.analysis.reporting import Reporter, enumerate_kinds
from everlog.eventql.analysis.scope import DATA, Scope, UnknownFieldError, type_of_path
from everlog.eventql.evaluation.catalogue import FUNCTIONS
from everlog.eventql.language.syntax import Name, Path
from everlog.eventql.types import ANY, EVENT_FIELDS, STRING

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

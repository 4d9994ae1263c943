"""Code of projections: what becomes of a chosen row.

A row is either a value, for a query around this one, or something that the JSON encoder writes.
For the latter, fields of events are taken as they are stored wherever they are written only, so
that most of what leaves the server has never been decoded.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from everlog.eventql.analysis.analyzed import (
    ArrayOf,
    FieldAccess,
    RecordOf,
    TypedExpression,
)
from everlog.eventql.codegen.expression_code import CodeContext, code_of, value_code_of
from everlog.eventql.evaluation.rendering import to_json
from everlog.eventql.limits import VALUE_SIZE_MAX
from everlog.eventql.planning.plan import SourcePlan
from everlog.eventql.types import BOOLEAN, INT, NULL, STRING

# More are written as values, whose size is known: a short query could name a large event often.
_TEXTS_MAX: Final = 256

# What the JSON encoder writes as it should be.
_WRITTEN_AS_IS: Final = NULL | BOOLEAN | INT | STRING


def texts_in(projection: TypedExpression, sources: tuple[SourcePlan, ...]) -> list[FieldAccess]:
    """Return the fields that a projection writes as they are stored; none if it makes values."""
    texts = []
    for part in _written_parts(projection):
        if isinstance(part, FieldAccess):
            if not sources[part.source].is_events:
                return []
            texts.append(part)
    return texts if len(texts) <= _TEXTS_MAX else []


def values_in(projection: TypedExpression, texts: list[FieldAccess]) -> list[TypedExpression]:
    """Return the expressions that a projection evaluates, apart from the texts in it."""
    if not texts:
        return [projection]
    return [part for part in _written_parts(projection) if not isinstance(part, FieldAccess)]


TextCode = Callable[[FieldAccess], str]


def row_code_of(context: CodeContext, projection: TypedExpression, text_of: TextCode | None) -> str:
    """Return the code of a row for the JSON encoder; fields are written as `text_of` tells.

    Without it they are values, of which the row is put together in the same way, unless it could
    be too large: then it is made as a value, which looks at the size.
    """
    if text_of is None:
        if code_of(context, projection).size_max >= VALUE_SIZE_MAX:
            return _value_row_code_of(context, projection)
        return _written(context, projection, partial(_value_row_code_of, context))
    return _written(context, projection, text_of)


def _written(context: CodeContext, projection: TypedExpression, text_of: TextCode) -> str:
    match projection:
        case FieldAccess():
            return text_of(projection)
        case RecordOf(keys=keys, values=values) if values:
            entries = [
                f"{context.module.constant(key)}: {_written(context, value, text_of)}"
                for key, value in zip(keys, values, strict=True)
            ]
            return f"{{{', '.join(entries)}}}"
        case ArrayOf(items=items) if items:
            parts = [_written(context, item, text_of) for item in items]
            return f"[{', '.join(parts)}]"
        case _:
            return _value_row_code_of(context, projection)


def _value_row_code_of(context: CodeContext, expression: TypedExpression) -> str:
    """Return the code of a value for the JSON encoder."""
    code = value_code_of(context, expression)
    if code.type <= _WRITTEN_AS_IS:
        return code.text
    return f"{context.module.constant(to_json)}({code.text})"


def _written_parts(projection: TypedExpression) -> Iterator[TypedExpression]:
    """Yield what stands in the projection when its records and arrays are taken apart."""
    pending = [projection]
    while pending:
        part = pending.pop()
        match part:
            case RecordOf(values=values) if values:
                pending.extend(values)
            case ArrayOf(items=items) if items:
                pending.extend(items)
            case _:
                yield part

"""Pushing conditions down: which events a condition cannot be TRUE for.

A bound is a scan that selects every event for which a condition is TRUE. Outside of it, the
condition is FALSE without an error: otherwise a scan would hide errors. In `a AND b` the bound of
`b` therefore counts only if `a` cannot fail; in `a OR b` both have to have one.

Scans are sets of events: `intersect` has what is in both of two, `unite` what is in one of them.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from everlog.eventql.analysis.analyzed import (
    BinaryOperation,
    Constant,
    FieldAccess,
    LogSource,
    ScalarCall,
    TypeConversion,
    TypedExpression,
)
from everlog.eventql.evaluation.values import DateTime
from everlog.eventql.planning.fallible import Sources, is_condition_safe, is_event_id
from everlog.eventql.planning.plan import ALL, NOTHING, EventScan
from everlog.eventql.types import BinaryOperator, Kind

# --- Scans


def is_nothing(scan: EventScan) -> bool:
    """Tell whether no event can be selected."""
    return (
        scan.event_types == frozenset()
        or scan.subjects == frozenset()
        or (scan.id_stop is not None and scan.id_stop <= scan.id_start)
        or (
            scan.time_start is not None
            and scan.time_stop is not None
            and scan.time_stop <= scan.time_start
        )
    )


def intersect(first: EventScan, second: EventScan) -> EventScan:
    """Return the scan of the events that both select; at most one condition is on subjects."""
    prefixes = {scan.subject_prefix for scan in (first, second)} - {None}
    subjects = _intersection(first.subjects, second.subjects)
    longest = max((prefix or "" for prefix in prefixes), key=len, default="")
    if not all(longest.startswith(prefix or "") for prefix in prefixes):
        return NOTHING
    if subjects is not None:
        subjects = frozenset(subject for subject in subjects if subject.startswith(longest))
    scan = EventScan(
        event_types=_intersection(first.event_types, second.event_types),
        subjects=subjects,
        subject_prefix=longest if prefixes and subjects is None else None,
        id_start=max(first.id_start, second.id_start),
        id_stop=_least(first.id_stop, second.id_stop),
        time_start=_greatest(first.time_start, second.time_start),
        time_stop=_least(first.time_stop, second.time_stop),
    )
    return NOTHING if is_nothing(scan) else scan


def unite(first: EventScan, second: EventScan) -> tuple[EventScan, bool]:
    """Return a scan of the events that either selects, and whether it selects no others."""
    if is_nothing(first):
        return second, True
    if is_nothing(second):
        return first, True
    subjects, prefix = _united_subjects(first, second)
    scan = EventScan(
        event_types=_union(first.event_types, second.event_types),
        subjects=subjects,
        subject_prefix=prefix,
        id_start=min(first.id_start, second.id_start),
        id_stop=_loosest(first.id_stop, second.id_stop, max),
        time_start=_loosest(first.time_start, second.time_start, min),
        time_stop=_loosest(first.time_stop, second.time_stop, max),
    )
    # Exact where they differ in one set only, or not at all: then nothing comes in between.
    sides = (first, second, scan)
    is_exact = (
        len({replace(side, event_types=None) for side in sides}) == 1
        or len({replace(side, subjects=None) for side in sides}) == 1
    )
    return scan, is_exact


def _united_subjects(
    first: EventScan, second: EventScan
) -> tuple[frozenset[str] | None, str | None]:
    if first.subjects is not None and second.subjects is not None:
        return first.subjects | second.subjects, None
    for one, other in ((first, second), (second, first)):
        prefix = one.subject_prefix
        if prefix is None:
            continue
        others = other.subjects or (() if other.subject_prefix is None else (other.subject_prefix,))
        if others and all(subject.startswith(prefix) for subject in others):
            return None, prefix
    return None, None


def _intersection(
    first: frozenset[str] | None, second: frozenset[str] | None
) -> frozenset[str] | None:
    if first is None or second is None:
        return first if second is None else second
    return first & second


def _union(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    return None if first is None or second is None else first | second


def _least(first: int | None, second: int | None) -> int | None:
    return min((bound for bound in (first, second) if bound is not None), default=None)


def _greatest(first: int | None, second: int | None) -> int | None:
    return max((bound for bound in (first, second) if bound is not None), default=None)


def _loosest(
    first: int | None, second: int | None, choose: Callable[[int, int], int]
) -> int | None:
    return None if first is None or second is None else choose(first, second)


# --- Bounds


# Ids and times are numbers of 64 bits: what is beyond is a bound for none.
_NUMBER_MAX: Final = 2**63 - 1

# No position comes near, so that adding as much to an id stays within 64 bits.
_ID_SHIFT_MAX: Final = 2**62

_MIRRORED: Final = {
    BinaryOperator.EQUAL: BinaryOperator.EQUAL,
    BinaryOperator.LESS: BinaryOperator.GREATER,
    BinaryOperator.LESS_OR_EQUAL: BinaryOperator.GREATER_OR_EQUAL,
    BinaryOperator.GREATER: BinaryOperator.LESS,
    BinaryOperator.GREATER_OR_EQUAL: BinaryOperator.LESS_OR_EQUAL,
}


class Bound(NamedTuple):
    """A scan that selects what a condition is TRUE for; nothing else, if it is exact."""

    scan: EventScan
    is_exact: bool


_NO_BOUND: Final = Bound(ALL, is_exact=False)


def conjuncts_of(condition: TypedExpression | None) -> Iterator[TypedExpression]:
    """Yield the operands of AND that a condition consists of, in the order written."""
    pending = [] if condition is None else [condition]
    while pending:
        node = pending.pop()
        if isinstance(node, BinaryOperation) and node.operator is BinaryOperator.AND:
            pending += [node.right, node.left]
        else:
            yield node


def bounds_of(
    conditions: Iterable[TypedExpression], source: int, sources: Sources
) -> tuple[EventScan, list[TypedExpression]]:
    """Return the scan for one source, and the conditions that it says exactly."""
    scan = ALL
    exact = []
    for condition in conditions:
        bound = _bound_of(condition, source, sources)
        scan = intersect(scan, bound.scan)
        if bound.is_exact:
            exact.append(condition)
        elif not is_condition_safe(condition, sources):
            break
    return scan, exact


def _bound_of(node: TypedExpression, source: int, sources: Sources) -> Bound:
    match node:
        case Constant(value=bool() as value):
            return Bound(ALL if value else NOTHING, is_exact=True)
        case BinaryOperation(operator=BinaryOperator.AND):
            conditions = [*conjuncts_of(node)]
            scan, exact = bounds_of(conditions, source, sources)
            return Bound(scan, is_exact=len(exact) == len(conditions))
        case BinaryOperation(operator=BinaryOperator.OR, left=left, right=right):
            first = _bound_of(left, source, sources)
            second = _bound_of(right, source, sources)
            scan, is_exact = unite(first.scan, second.scan)
            return Bound(scan, is_exact=is_exact and first.is_exact and second.is_exact)
        case BinaryOperation(operator=BinaryOperator.CONTAINS, left=left, right=right):
            return _bound_of_strings(right, _strings_of(left), source, sources)
        case BinaryOperation(operator=operator, left=left, right=right) if operator in _MIRRORED:
            bound = _bound_of_comparison(operator, left, right, source, sources)
            return bound or (
                _bound_of_comparison(_MIRRORED[operator], right, left, source, sources) or _NO_BOUND
            )
        case ScalarCall(function=function, arguments=(text, beginning)) if (
            function.name == "STARTSWITH" and _field_of(text, source, sources) == "subject"
        ):
            if isinstance(beginning, Constant) and type(beginning.value) is str:
                return Bound(EventScan(subject_prefix=beginning.value), is_exact=True)
    return _NO_BOUND


def _field_of(node: TypedExpression, source: int, sources: Sources) -> str | None:
    """Return the name of the field of this source's events that an expression is."""
    is_field = (
        isinstance(node, FieldAccess)
        and node.source == source
        and len(node.path) == 1
        and sources[source] is LogSource.EVENTS
    )
    return node.path[0] if is_field and isinstance(node, FieldAccess) else None


def _strings_of(array: TypedExpression) -> list[str] | None:
    """Return the strings of an array of constants; others equal no string."""
    if not isinstance(array, Constant) or type(array.value) is not list:
        return None
    return [item for item in array.value if type(item) is str]


def _bound_of_strings(
    node: TypedExpression, strings: list[str] | None, source: int, sources: Sources
) -> Bound:
    """Return the bound of a field that has to be one of some strings."""
    if strings is None:
        return _NO_BOUND
    match _field_of(node, source, sources):
        case "type":
            return Bound(EventScan(event_types=frozenset(strings)), is_exact=True)
        case "subject":
            return Bound(EventScan(subjects=frozenset(strings)), is_exact=True)
        case _:
            return _NO_BOUND


def _bound_of_comparison(
    operator: BinaryOperator,
    left: TypedExpression,
    right: TypedExpression,
    source: int,
    sources: Sources,
) -> Bound | None:
    """Return the bound of a field compared with a constant on its right."""
    if not isinstance(right, Constant):
        return None
    value: Any = right.value
    field = _field_of(left, source, sources)
    if type(value) is str and operator is BinaryOperator.EQUAL:
        if field == "id":
            is_id = value.isascii() and value.isdigit() and str(int(value[:20])) == value
            return Bound(_ids(operator, int(value)) if is_id else NOTHING, is_exact=True)
        bound = _bound_of_strings(left, [value], source, sources)
        return None if bound is _NO_BOUND else bound
    if type(value) is DateTime and field == "time":
        start, stop = _range(operator, value.nanoseconds)
        return Bound(EventScan(time_start=start, time_stop=stop), is_exact=True)
    if type(value) is int or type(value) is float:
        shift = _shift_of_id(left, source, sources)
        # A float and a shift might meet in between two floats.
        if shift is not None and (shift == 0 or type(value) is int):
            return Bound(_ids(operator, value - shift), is_exact=True)
    return None


def _shift_of_id(node: TypedExpression, source: int, sources: Sources) -> int | None:
    """Return what is added to the number of an event; None if the expression is something else."""
    match node:
        case TypeConversion(target=Kind.INT, operand=operand):
            is_own = is_event_id(operand, sources) and _field_of(operand, source, sources)
            return 0 if is_own else None
        case BinaryOperation(operator=BinaryOperator.ADD, left=left, right=right):
            return _shifted(left, right, 1, source, sources) or _shifted(
                right, left, 1, source, sources
            )
        case BinaryOperation(operator=BinaryOperator.SUBTRACT, left=left, right=right):
            return _shifted(left, right, -1, source, sources)
        case _:
            return None


def _shifted(
    node: TypedExpression, shift: TypedExpression, sign: int, source: int, sources: Sources
) -> int | None:
    number = shift.value if isinstance(shift, Constant) else None
    if type(number) is not int or abs(number) > _ID_SHIFT_MAX:
        return None
    is_id = isinstance(node, TypeConversion) and _shift_of_id(node, source, sources) == 0
    return sign * number if is_id else None


def _ids(operator: BinaryOperator, number: float) -> EventScan:
    start, stop = _range(operator, number)
    return EventScan(id_start=max(start or 0, 0), id_stop=None if stop is None else max(stop, 0))


def _range(operator: BinaryOperator, number: float) -> tuple[int | None, int | None]:
    """Return the whole numbers that compare so: inclusive start, exclusive stop."""
    start, stop = _RANGES[operator](number)
    return (None if start is None else _bounded(start), None if stop is None else _bounded(stop))


def _bounded(number: int) -> int:
    return min(max(number, -_NUMBER_MAX), _NUMBER_MAX)


_Range = tuple[int | None, int | None]

_RANGES: Final[dict[BinaryOperator, Callable[[float], _Range]]] = {
    BinaryOperator.EQUAL: lambda number: (math.ceil(number), math.floor(number) + 1),
    BinaryOperator.LESS: lambda number: (None, math.ceil(number)),
    BinaryOperator.LESS_OR_EQUAL: lambda number: (None, math.floor(number) + 1),
    BinaryOperator.GREATER: lambda number: (math.floor(number) + 1, None),
    BinaryOperator.GREATER_OR_EQUAL: lambda number: (math.ceil(number), None),
}

"""Code of aggregation: what a row adds to the state of its group.

A state is a list: the key of the group, and one cell for each aggregate. Counts and first values
are kept in the cells themselves, everything else in an accumulator.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    FieldAccess,
    GroupKey,
    TypedExpression,
)
from everlog.eventql.codegen.code_parts import value_of
from everlog.eventql.codegen.expression_code import CodeContext, code_of, value_code_of
from everlog.eventql.codegen.fallible import Sources, can_fail
from everlog.eventql.codegen.generated import Code
from everlog.eventql.evaluation.comparison import identity_key
from everlog.eventql.limits import STRING_LENGTH_MAX, VALUE_SIZE_MAX
from everlog.eventql.types import ARRAY, BOOLEAN, RECORD, STRING, Kind

# Values that are not their own keys, see `identity_key`.
_KEYED: Final = ARRAY | RECORD | BOOLEAN

# Aggregates that hold one of the values that were added.
_EXTREMES: Final = frozenset({"MIN", "MAX"})

Start = Callable[[], Any]


def start_of(call: AggregateCall) -> Start:
    """Return what makes the first content of the aggregate's cell."""
    if _is_counted(call):
        return int
    if call.aggregate.name == "UNIQUE":
        return _nothing
    return call.aggregate.start


def result_of(call: AggregateCall, cell: Any) -> Any:
    """Return the result of an aggregate's cell."""
    return cell if is_result_kept(call) else cell.result()


def is_result_kept(call: AggregateCall) -> bool:
    """Tell whether the cell is the result itself, and not an accumulator."""
    return _is_counted(call) or call.aggregate.name == "UNIQUE"


def group_lines(context: CodeContext, key: TypedExpression) -> list[str]:
    """Return the lines that find or make the state `g0` of a row's group.

    They need `get0`, which finds a state, and `m0`, which makes one, as parameters.
    """
    code = code_of(context, key)
    lines = [f"k0 = ({code.text})", "h0 = k0"]
    if code.type & _KEYED and not code.is_event_time:
        # Most keys are strings, which are keys and values as they are.
        key_of_other = value_of(context.module, code._replace(text="k0")).text
        identity = context.module.constant(identity_key)
        lines.append(f"if type(k0) is not str: k0 = ({key_of_other}); h0 = {identity}(k0)")
    return [*lines, "g0 = q0(h0)", "if g0 is None: g0 = m0(h0, k0)"]


def aggregate_lines(
    context: CodeContext, calls: Sequence[AggregateCall], sources: Sources, *, is_grouped: bool
) -> list[str]:
    """Return the lines that add a row to the state `g0`.

    They need `j0`, the holdings, as a parameter.
    """
    lines = []
    for index, call in enumerate(calls, 1):
        cell = f"g0[{index}]"
        if call.argument is None:
            lines.append(f"{cell} += 1")
            continue
        if call.aggregate.name == "UNIQUE":
            code = value_code_of(context, call.argument)
            lines += _first_lines(cell, code, is_safe=not can_fail(call.argument, sources))
            continue
        code = code_of(context, call.argument)
        if code.is_event_time:
            code = value_of(context.module, code)
        if _is_counted(call):
            lines.append(f"if ({code.text}): {cell} += 1")
        else:
            lines += _added_lines(context, call, cell, code, is_grouped=is_grouped)
    return lines


def _added_lines(
    context: CodeContext, call: AggregateCall, cell: str, code: Code, *, is_grouped: bool
) -> list[str]:
    """Return the lines that add a value to an accumulator; arrays and records are errors there."""
    value = "v0"
    if call.aggregate.name == "MEDIAN":
        value = "j0.hold_number(v0)"
    elif call.aggregate.name in _EXTREMES and is_grouped and code.type & STRING:
        value = "j0.hold_text(v0)"
    test = "if v0 is not None: " if Kind.NULL in code.type else ""
    add = context.module.failing_line(f"{test}{cell}.add({value})", call.span)
    return [f"v0 = ({code.text})", add]


def value_lines(context: CodeContext, calls: Sequence[AggregateCall]) -> str:
    """Return the code of a list of what a row adds to each aggregate."""
    values = [
        "True" if call.argument is None else value_code_of(context, call.argument).text
        for call in calls
    ]
    return f"[{', '.join(values)}]"


def _first_lines(cell: str, code: Code, *, is_safe: bool) -> list[str]:
    if is_safe:
        return [f"if {cell} is None: {cell} = j0.hold({code.text})"]
    return [f"v0 = ({code.text})", f"if {cell} is None: {cell} = j0.hold(v0)"]


def _is_counted(call: AggregateCall) -> bool:
    """Tell whether the cell is a number that is counted up in place."""
    if call.aggregate.name != "COUNT":
        return False
    return call.argument is None or call.argument.type <= BOOLEAN


def _nothing() -> None:
    return None


class GroupEnvironment:
    """What expressions find that are evaluated for each group: `k0`, the key, and `y0`, results."""

    parameters: Final = "k0, y0"

    def __init__(self, *, is_key_event_time: bool) -> None:
        self._is_key_event_time = is_key_event_time

    def field(self, access: FieldAccess) -> Code:
        """There are no rows any more."""
        raise AssertionError(access)

    def is_event_id(self, _expression: TypedExpression) -> bool:
        """There are no events any more."""
        return False

    def group_key(self, key: GroupKey) -> Code:
        """Return the code of the key of the group."""
        is_time = self._is_key_event_time
        return Code("k0", key.type, is_name=True, is_event_time=is_time, size_max=_size_max_of(key))

    def aggregate(self, value: AggregateValue) -> Code:
        """Return the code of an aggregate's result."""
        return Code(f"y0[{value.index}]", value.type, is_name=True, size_max=_size_max_of(value))


def _size_max_of(node: GroupKey | AggregateValue) -> int:
    if node.type & (ARRAY | RECORD):
        return VALUE_SIZE_MAX - 1
    return STRING_LENGTH_MAX if node.type & STRING else 32

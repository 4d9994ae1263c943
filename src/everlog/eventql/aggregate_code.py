"""Code of aggregation: what a row adds to the state of its group.

A state is a list: the key of the group, and one cell for each aggregate. Counts and first values
are kept in the cells themselves, everything else in an accumulator.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from everlog.eventql.analyzed import (
    AggregateCall,
    AggregateValue,
    FieldAccess,
    GroupKey,
    TypedExpression,
)
from everlog.eventql.comparison import identity_key
from everlog.eventql.expression_code import CodeContext, code_of, value_code_of
from everlog.eventql.fallible import Sources, can_fail
from everlog.eventql.generated import Code
from everlog.eventql.limits import STRING_LENGTH_MAX, VALUE_SIZE_MAX
from everlog.eventql.types import ARRAY, BOOLEAN, RECORD, STRING, Kind

# Values that are not their own keys, see `identity_key`.
_KEYED: Final = ARRAY | RECORD | BOOLEAN

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
    if not code.is_event_time:
        code = value_code_of(context, key)
    if not code.type & _KEYED or code.is_event_time:
        identity = "k0"
    else:
        identity = f"(k0 if type(k0) is str else {context.module.constant(identity_key)}(k0))"
    return [
        f"k0 = ({code.text})",
        f"h0 = {identity}",
        "g0 = q0(h0)",
        "if g0 is None: g0 = m0(h0, k0)",
    ]


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
        code = value_code_of(context, call.argument)
        if _is_counted(call):
            lines.append(f"if ({code.text}): {cell} += 1")
        elif call.aggregate.name == "UNIQUE":
            lines += _first_lines(cell, code, is_safe=not can_fail(call.argument, sources))
        else:
            lines.append(f"v0 = ({code.text})")
            value = "v0"
            if call.aggregate.name == "MEDIAN":
                value = "j0.hold_number(v0)"
            elif is_grouped and code.type & STRING:
                value = "j0.hold_text(v0)"
            add = f"{cell}.add({value})"
            test = "if v0 is not None: " if Kind.NULL in code.type else ""
            lines.append(context.module.failing_line(f"{test}{add}", call.span))
    return lines


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

"""Code of loops: conditions, and what is done with each chosen row, in one function.

    def f9(p0, n0, o0, s1):
     a0 = o0.append
     for l0 in p0:
      r0 = l0.f0
      if not (condition on the first source): continue
      for r1 in s1:
       if not (condition on both): continue
       a0(row)
     yield
The first source's rows come in chunks, `p0` is an iterator over one; `n0` returns the line of a
row by its place in the chunk. The rows of other sources are lists. What is chosen is appended to
the list `o0`, which whoever runs the loop empties whenever it yields; so it is known which rows
were chosen before one that is an error.

A loop that aggregates adds each row to the state of its group instead. A state is a list: the key
of the group, and one cell for each aggregate. Counts, first and last values are kept in the cells
themselves, everything else in an accumulator.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    FieldAccess,
    GroupKey,
    ScalarCall,
    TypedExpression,
    operands,
)
from everlog.eventql.codegen.expression_code import (
    Environment,
    code_of,
    condition_code_of,
    value_code_of,
    value_of,
)
from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.codegen.row_code import EventRows, ValueRows
from everlog.eventql.evaluation.catalogue import EXTREMES
from everlog.eventql.evaluation.operators import identity_key
from everlog.eventql.limits import STRING_LENGTH_MAX, VALUE_SIZE_MAX
from everlog.eventql.planning.fallible import Sources, can_fail, is_condition_safe
from everlog.eventql.trees import walk
from everlog.eventql.types import ARRAY, BOOLEAN, RECORD, STRING, Kind

# Values that are not their own keys, see `identity_key`.
_KEYED: Final = ARRAY | RECORD | BOOLEAN

# Of those that choose by place, the one that chooses from behind.
_LAST: Final = "LAST"

Start = Callable[[], Any]


# --- What a row adds to its group


def start_of(call: AggregateCall) -> Start:
    """Return what makes the first content of the aggregate's cell."""
    if _is_counted(call):
        return int
    if call.aggregate.is_by_place:
        return _nothing
    return call.aggregate.start


def result_of(call: AggregateCall, cell: Any) -> Any:
    """Return the result of an aggregate's cell."""
    return cell if is_result_kept(call) else cell.result()


def is_result_kept(call: AggregateCall) -> bool:
    """Tell whether the cell is the result itself, and not an accumulator."""
    return _is_counted(call) or call.aggregate.is_by_place


def group_lines(environment: Environment, key: TypedExpression) -> list[str]:
    """Return the lines that find or make the state `g0` of a row's group.

    They need `get0`, which finds a state, and `m0`, which makes one, as parameters.
    """
    code = code_of(environment, key)
    lines = [f"k0 = ({code.text})", "h0 = k0"]
    if code.type & _KEYED and not code.is_event_time:
        # Most keys are strings, which are keys and values as they are.
        key_of_other = value_of(environment.module, code._replace(text="k0")).text
        identity = environment.module.constant(identity_key)
        lines.append(f"if type(k0) is not str: k0 = ({key_of_other}); h0 = {identity}(k0)")
    return [*lines, "g0 = q0(h0)", "if g0 is None: g0 = m0(h0, k0)"]


def aggregate_lines(
    environment: Environment, calls: Sequence[AggregateCall], sources: Sources, *, is_grouped: bool
) -> list[str]:
    """Return the lines that add a row to the state `g0`.

    They need `j0`, the memory budget, as a parameter.
    """
    lines = []
    for index, call in enumerate(calls, 1):
        cell = f"g0[{index}]"
        if call.argument is None:
            lines.append(f"{cell} += 1")
            continue
        if call.aggregate.is_by_place:
            code = value_code_of(environment, call.argument)
            if call.aggregate.name == _LAST:
                lines += _last_lines(cell, code)
            else:
                lines += _first_lines(cell, code, is_safe=not can_fail(call.argument, sources))
            continue
        code = code_of(environment, call.argument)
        if code.is_event_time:
            code = value_of(environment.module, code)
        if _is_counted(call):
            lines.append(f"if ({code.text}): {cell} += 1")
        else:
            lines += _added_lines(environment, call, cell, code, is_grouped=is_grouped)
    return lines


def _added_lines(
    environment: Environment, call: AggregateCall, cell: str, code: Code, *, is_grouped: bool
) -> list[str]:
    """Return the lines that add a value to an accumulator; arrays and records are errors there."""
    value = "v0"
    if call.aggregate.name == "MEDIAN":
        value = "j0.hold_number(v0)"
    elif call.aggregate.name in EXTREMES and is_grouped and code.type & STRING:
        value = "j0.hold_text(v0)"
    test = "if v0 is not None: " if Kind.NULL in code.type else ""
    add = environment.module.failing_line(f"{test}{cell}.add({value})", call.span)
    return [f"v0 = ({code.text})", add]


def value_lines(environment: Environment, calls: Sequence[AggregateCall]) -> str:
    """Return the code of a list of what a row adds to each aggregate."""
    values = [
        "True" if call.argument is None else value_code_of(environment, call.argument).text
        for call in calls
    ]
    return f"[{', '.join(values)}]"


def _first_lines(cell: str, code: Code, *, is_safe: bool) -> list[str]:
    if is_safe:
        return [f"if {cell} is None: {cell} = j0.hold({code.text})"]
    return [f"v0 = ({code.text})", f"if {cell} is None: {cell} = j0.hold(v0)"]


def _last_lines(cell: str, code: Code) -> list[str]:
    # Every value is held for a while, so that the one before it is not held any more.
    return [f"v0 = ({code.text})", f"if v0 is not None: {cell} = j0.exchange({cell}, v0)"]


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

    def __init__(self, module: GeneratedModule, *, is_key_event_time: bool) -> None:
        self.module = module
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


# --- Loops


# So many rows are gathered at most before they are handed on, and so many bytes of them.
_CHUNK_ROWS: Final = 256
_CHUNK_SIZE: Final = 64 * 1024 * 1024

Rows = Sequence[EventRows | ValueRows]


def row_loop(
    environment: Environment,
    rows: Rows,
    conditions: Sequence[TypedExpression],
    sources: Sources,
    body: Sequence[str],
    parameters: Sequence[str] = (),
    *,
    row_size_max: int | None,
) -> str:
    """Add the loop over the rows of all sources, and return its name.

    `body` is what is done with a chosen row; it may use the parameters that are added, and `a0`.
    `row_size_max` is how large a row is that it gathers; None if it gathers none.
    """
    placed = _places_of(conditions, sources)
    lines = [" a0 = o0.append"]
    if _takes_line_late(rows[0]):
        # Parts of conditions may be functions, which are given all there is of a row.
        lines.append(" w0 = None")
    for index, source in enumerate(rows):
        indent = " " * (index + 1)
        if index and index == len(rows) - 1:
            # Asked for once for all that follows: whether it is time to hand rows on.
            lines.append(f"{indent}if b0(len(s{index})): yield")
        lines += [indent + line for line in _head(source, index)]
        for condition in placed[index]:
            code = condition_code_of(environment, condition, "WHERE")
            lines.append(f"{indent} if not ({code}): continue")
    indent = " " * (len(rows) + 1)
    if _takes_line_late(rows[0]):
        lines.append(f"{indent}w0 = n0(i0)")
    for source in rows:
        lines += [indent + line for line in source.late_line]
    lines += [indent + line for line in body]
    if row_size_max is not None:
        count = max(1, min(_CHUNK_ROWS, _CHUNK_SIZE // row_size_max))
        lines.append(f"{indent}if len(o0) >= {count}: yield")
    lines.append(" yield")
    others = [f"s{index}" for index in range(1, len(rows))]
    budget = ["b0"] if others else []
    names = ["p0", "n0", "o0", *budget, *others, *parameters]
    return environment.module.function(", ".join(names), lines)


def group_loop(
    environment: Environment, having: TypedExpression | None, body: Sequence[str]
) -> str:
    """Add the loop over the results of groups, and return its name."""
    lines = [" a0 = o0.append", " for k0, y0 in p0:"]
    if having is not None:
        lines.append(f"  if not ({condition_code_of(environment, having, 'HAVING')}): continue")
    lines += [f"  {line}" for line in body]
    lines.append(" yield")
    return environment.module.function("p0, n0, o0, z0", lines)


def row_size_max(expressions: Iterable[TypedExpression], rows: Rows) -> int:
    """Return how large a row of these expressions is at most, roughly, in items and characters."""
    size = 1
    for expression in expressions:
        for node in walk(expression, operands):
            if isinstance(node, FieldAccess):
                size += rows[node.source].size_max
            elif isinstance(node, ScalarCall) and node.type & STRING:
                size += STRING_LENGTH_MAX
    return size


def _head(source: EventRows | ValueRows, index: int) -> list[str]:
    """Return the line that takes the next row, and those that name its parts."""
    if isinstance(source, ValueRows):
        return [f"for r{index} in {'s' if index else 'p'}{index}:"]
    if index:
        names = [f"r{index}"] if source.has_fields else []
        names += [f"w{index}"] if source.needs_line else []
        return [f"for {', '.join(names) or f'l{index}'} in s{index}:"]
    if not source.has_fields:
        return ["for w0 in p0:" if source.needs_line else "for l0 in p0:"]
    if not source.needs_line:
        return ["for l0 in p0:", " r0 = l0.f0"]
    head = ["for i0, l0 in enumerate(p0):", " r0 = l0.f0"]
    return [*head, " w0 = n0(i0)"] if source.needs_line_early else head


def _takes_line_late(first: EventRows | ValueRows) -> bool:
    """Tell whether the line of an event is looked for only when its row is chosen."""
    return first.needs_line and first.has_fields and not first.needs_line_early


def _places_of(
    conditions: Sequence[TypedExpression], sources: Sources
) -> list[list[TypedExpression]]:
    """Return for each source the conditions that are judged as soon as it has a row.

    A condition is judged before all other sources have one only if neither it nor one before it
    in the text can fail: there may be no combination of rows at all for which it is judged.
    """
    placed: list[list[TypedExpression]] = [[] for _ in sources]
    is_safe = True
    for condition in conditions:
        is_safe = is_safe and is_condition_safe(condition, sources)
        used = [node.source for node in walk(condition, operands) if isinstance(node, FieldAccess)]
        placed[max(used, default=0) if is_safe else -1].append(condition)
    return placed

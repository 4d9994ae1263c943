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
"""

from collections.abc import Sequence
from typing import Final

from everlog.eventql.analysis.analyzed import FieldAccess, TypedExpression, operands
from everlog.eventql.codegen.expression_code import CodeContext, condition_code_of
from everlog.eventql.codegen.fallible import Sources, is_condition_safe
from everlog.eventql.codegen.row_code import EventRows, ValueRows
from everlog.eventql.trees import walk

# So many rows of a product are gathered before they are handed on.
_CHUNK_ROWS: Final = 256

Rows = Sequence[EventRows | ValueRows]


def row_loop(
    context: CodeContext,
    rows: Rows,
    conditions: Sequence[TypedExpression],
    sources: Sources,
    body: Sequence[str],
    parameters: Sequence[str] = (),
) -> str:
    """Add the loop over the rows of all sources, and return its name.

    `body` is what is done with a chosen row; it may use the parameters that are added, and `a0`.
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
            code = condition_code_of(context, condition, "WHERE")
            lines.append(f"{indent} if not ({code}): continue")
    indent = " " * (len(rows) + 1)
    if _takes_line_late(rows[0]):
        lines.append(f"{indent}w0 = n0(i0)")
    for source in rows:
        lines += [indent + line for line in source.late_line]
    lines += [indent + line for line in body]
    if len(rows) > 1:
        lines.append(f"{indent}if len(o0) >= {_CHUNK_ROWS}: yield")
    lines.append(" yield")
    others = [f"s{index}" for index in range(1, len(rows))]
    budget = ["b0"] if others else []
    names = ["p0", "n0", "o0", *budget, *others, *parameters]
    return context.module.function(", ".join(names), lines)


def group_loop(context: CodeContext, having: TypedExpression | None, body: Sequence[str]) -> str:
    """Add the loop over the results of groups, and return its name."""
    lines = [" a0 = o0.append", " for k0, y0 in p0:"]
    if having is not None:
        lines.append(f"  if not ({condition_code_of(context, having, 'HAVING')}): continue")
    lines += [f"  {line}" for line in body]
    lines.append(" yield")
    return context.module.function("p0, n0, o0, z0", lines)


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

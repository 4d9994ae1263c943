"""Trees: going through expressions without recursion.

A chain like `a OR b OR c` makes a tree that is as deep as the chain is long, and so may be deeper
than Python's stack: a stage that goes through a whole expression does it with one of these.
`operands` tells what is directly below a node, in the order written.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Node = TypeVar("Node")
Result = TypeVar("Result")


def walk(root: Node, operands: Callable[[Node], tuple[Node, ...]]) -> Iterator[Node]:
    """Yield every node, each one before those below it."""
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(operands(node)))


def fold(
    root: Node,
    operands: Callable[[Node], tuple[Node, ...]],
    build: Callable[[Node, Sequence[Result]], Result],
) -> Result:
    """Return what is built of the root.

    `build` is called once for each node, after those below it, with what was built of them.
    """
    # A node is there twice: first to ask what is below it, then to be built.
    pending: list[tuple[Node, int | None]] = [(root, None)]
    built: list[Result] = []
    while pending:
        node, count = pending.pop()
        if count is None:
            below = operands(node)
            pending.append((node, len(below)))
            pending.extend((operand, None) for operand in reversed(below))
        else:
            start = len(built) - count
            result = build(node, built[start:])
            del built[start:]
            built.append(result)
    assert len(built) == 1
    return built[0]

"""Precedence: which operator binds how tightly.

Tighter than all operators between operands bind the signs, tighter than those AS, and tightest
calls and paths. All operators between operands group to the left; where grouping has no meaning,
the parser chooses (see `ASSOCIATIVE`).
"""

from typing import Final

from everlog.eventql.language.syntax import BinaryOperator

# Operators between conditions, the loosest first, each a level of its own. Their operands may
# begin with NOT, which binds more tightly than all of them and more loosely than what follows.
CONNECTIVES: Final = (BinaryOperator.OR, BinaryOperator.XOR, BinaryOperator.AND)

# Operators between values, the tightest level first.
VALUE_LEVELS: Final = (
    (BinaryOperator.MULTIPLY, BinaryOperator.DIVIDE),
    (BinaryOperator.ADD, BinaryOperator.SUBTRACT),
    (BinaryOperator.CONTAINS,),
    (
        BinaryOperator.EQUAL,
        BinaryOperator.NOT_EQUAL,
        BinaryOperator.LESS,
        BinaryOperator.LESS_OR_EQUAL,
        BinaryOperator.GREATER,
        BinaryOperator.GREATER_OR_EQUAL,
    ),
)

# Operators whose grouping has no meaning: `(a AND b) AND c` evaluates the same operands in the
# same order to the same end as `a AND (b AND c)`, errors included. A chain of them becomes a tree
# as flat as can be, the left half being the larger one, so that thousands are no deep tree.
ASSOCIATIVE: Final = frozenset(CONNECTIVES)

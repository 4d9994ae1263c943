from collections.abc import Sequence

import pytest

from everlog.eventql.trees import fold, walk

Tree = tuple[str, tuple["Tree", ...]]

LEAF: Tree = ("d", ())
TREE: Tree = ("a", (("b", (("c", ()), LEAF)), ("e", ())))


def below(tree: Tree) -> tuple[Tree, ...]:
    return tree[1]


def test_walk_yields_each_node_before_those_below_it() -> None:
    assert [name for name, _ in walk(TREE, below)] == ["a", "b", "c", "d", "e"]


def test_fold_builds_each_node_after_those_below_it() -> None:
    order = []

    def build(tree: Tree, built: Sequence[str]) -> str:
        order.append(tree[0])
        return f"{tree[0]}({','.join(built)})"

    assert fold(TREE, below, build) == "a(b(c(),d()),e())"
    assert order == ["c", "d", "b", "e", "a"]


@pytest.mark.parametrize("depth", [1, 20_000])
def test_a_tree_may_be_as_deep_as_it_likes(depth: int) -> None:
    tree = LEAF
    for _ in range(depth - 1):
        tree = ("x", (tree,))

    assert fold(tree, below, lambda _, built: 1 + sum(built)) == depth
    assert sum(1 for _ in walk(tree, below)) == depth
    # Piece by piece: Python itself takes a deep tuple apart recursively.
    while tree[1]:
        (tree,) = tree[1]

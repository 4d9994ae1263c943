"""The subject tree against what a dictionary of names would say."""

import random
from itertools import chain
from pathlib import Path

import pytest

from everlog.domain.subject import ROOT, ancestors, is_within, sort_key
from everlog.storage.log import subject_tree
from everlog.storage.log.subject_tree import SubjectTree
from tests.support.engines import kill, open_log
from tests.support.events import a_candidate, stage, store

# Siblings that differ late, that begin like each other, and that sort otherwise as texts.
SEGMENTS = ("a", "a-b", "a_b", "A", "b", "12345678", "123456789", "12345678-0123456", "-", "x" * 40)


def a_subject(rng: random.Random, depth_max: int = 5) -> str:
    segments = rng.choices(SEGMENTS, k=rng.randrange(depth_max + 1))
    return ROOT + "/".join(segments)


def filled(tree: SubjectTree, subjects: list[str]) -> dict[str, int]:
    """Put subjects into a tree, and return the numbers that they should have."""
    numbers: dict[str, int] = {}
    for subject in subjects:
        for name in (*ancestors(subject), subject):
            numbers.setdefault(name, len(numbers))
        assert tree.number(subject) == numbers[subject]
    return numbers


def check(tree: SubjectTree, numbers: dict[str, int], count: int) -> None:
    """Compare everything that a tree says about its first so many nodes."""
    there = {name: node for name, node in numbers.items() if node < count}
    for name in numbers:
        assert tree.find(name, count=count) == there.get(name)
        assert tree.find(f"{name.rstrip('/')}/gone", count=count) is None
    for name, node in there.items():
        assert tree.name(node) == name
        below = {other for other in there if is_within(other, name)}
        assert tree.below(node, count=count).tolist() == sorted(there[other] for other in below)
        chunks = list(tree.names_below(node, count=count))
        assert all(chunks)
        assert list(chain.from_iterable(chunks)) == sorted(below, key=sort_key)
        for prefix in ("", "a", "12345678", "gone"):
            start = f"{name.rstrip('/')}/{prefix}"
            found = tree.below_with_prefix(node, prefix, count=count).tolist()
            assert found == sorted(
                number
                for other, number in there.items()
                if other.startswith(start) and other != ROOT
            )


@pytest.fixture(params=[False, True], ids=["as it is", "with a table that always moves"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        values = {
            "_KNOWN_SIZE_MAX": 500,
            "_TABLE_SIZE_MIN": 2,
            "_MOVED_AT_ONCE": 2,
            "_ADDED_BETWEEN": 1,
        }
        for name, value in {**values, "_LOADED_AT_ONCE": 3, "_NAMES_PER_CHUNK": 3}.items():
            monkeypatch.setattr(subject_tree, name, value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(4))
def test_a_tree_finds_and_orders_as_names_do(seed: int) -> None:
    rng = random.Random(seed)
    tree = SubjectTree()
    assert tree.find(ROOT, count=0) is None
    numbers = filled(tree, [a_subject(rng) for _ in range(40)])

    for count in (1, len(numbers) // 2, len(numbers)):
        check(tree, numbers, count)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(4))
def test_what_was_forgotten_may_come_again_as_something_else(seed: int) -> None:
    rng = random.Random(seed)
    tree = SubjectTree()
    subjects = [a_subject(rng) for _ in range(20)]
    filled(tree, subjects)
    for _ in range(30):
        size = rng.randrange(len(subjects) + 1)
        subjects = subjects[:size]
        names = set(chain.from_iterable((*ancestors(name), name) for name in subjects))
        tree.truncate(len(names))
        subjects += [a_subject(rng) for _ in range(rng.randrange(10))]
        numbers = filled(tree, subjects)
    check(tree, numbers, len(numbers))


def test_a_deep_tree_takes_what_its_segments_take() -> None:
    tree = SubjectTree()
    for number in range(200):
        tree.number(ROOT + "/".join([f"{number:031d}"] * 128))

    assert tree.count == 200 * 128 + 1
    assert tree.starts.cells[tree.count] == 200 * 128 * 32 + 1
    # Names of that length are told in small pieces.
    assert max(sum(map(len, chunk)) for chunk in tree.names_below(0, count=tree.count)) < 300_000


def test_a_recursive_precondition_costs_what_the_depth_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_log(tmp_path)
    store(engine, *[a_candidate(f"/a/{number}/b") for number in range(3_000)])
    stage(engine, a_candidate("/a/7/c"))
    assert engine.state.latest_position("/a", recursive=True) == 3_000

    def fail(*_: object, **__: object) -> None:
        pytest.fail("the subjects were gone through")

    monkeypatch.setattr(SubjectTree, "below", fail)
    monkeypatch.setattr(subject_tree.LatestBelow, "catch_up", fail)
    for number in range(1_000):
        position = 3_000 if number == 7 else number
        assert engine.state.latest_position(f"/a/{number}", recursive=True) == position
    assert engine.state.latest_position("/", recursive=True) == 3_000
    assert engine.state.latest_position("/a/7/b", recursive=True) == 7
    monkeypatch.undo()

    engine.roll_back()
    assert engine.state.latest_position("/a/7", recursive=True) == 7
    assert engine.state.latest_position("/a", recursive=True) == 2_999
    kill(engine)
    engine = open_log(tmp_path)
    assert engine.state.latest_position("/a/7", recursive=True) == 7
    kill(engine)

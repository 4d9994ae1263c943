import string

from hypothesis import given
from hypothesis import strategies as st

from everlog.domain.subject import ROOT, ancestors, is_within, parent, parse_subject, sort_key

segments = st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=1, max_size=3)
paths = st.lists(segments, max_size=5)
# Few letters, so that subjects often lie above, below and beside each other.
close_paths = st.lists(st.text(alphabet="a-0_", min_size=1, max_size=2), max_size=3)


def join(path: list[str]) -> str:
    return ROOT + "/".join(path)


@given(paths, st.booleans())
def test_parsing_is_idempotent_and_ignores_one_trailing_slash(
    path: list[str],
    has_slash: bool,  # noqa: FBT001 (Hypothesis passes it)
) -> None:
    text = join(path) + ("/" if path and has_slash else "")

    subject = parse_subject(text)

    assert subject == join(path)
    assert parse_subject(subject) == subject


@given(paths)
def test_ancestors_are_the_parents_of_parents(path: list[str]) -> None:
    climbed = []
    above = parent(join(path))
    while above is not None:
        climbed.append(above)
        above = parent(above)

    assert list(ancestors(join(path))) == climbed[::-1]


@given(close_paths, close_paths)
def test_a_subject_lies_within_itself_and_its_ancestors_only(
    path: list[str], top: list[str]
) -> None:
    subject = join(path)

    assert is_within(subject, join(top)) == (join(top) in {subject, *ancestors(subject)})


@given(close_paths, close_paths)
def test_the_order_is_that_of_the_segments(left: list[str], right: list[str]) -> None:
    assert (sort_key(join(left)) < sort_key(join(right))) == (left < right)


@given(st.lists(close_paths, max_size=8), close_paths)
def test_all_that_lies_within_a_subject_sorts_together(
    others: list[list[str]], top: list[str]
) -> None:
    ordered = sorted({join(path) for path in [*others, top]}, key=sort_key)

    inside = [is_within(subject, join(top)) for subject in ordered]

    first = inside.index(True)
    assert ordered[first] == join(top)
    assert inside == [False] * first + [True] * sum(inside) + [False] * (
        len(inside) - first - sum(inside)
    )

import pytest

from everlog.eventql.analysis.analyzed import AggregateValue, FieldAccess, GroupKey
from everlog.eventql.codegen.generated import GeneratedModule
from everlog.eventql.codegen.loop_code import GroupEnvironment
from everlog.eventql.diagnostic import Span
from everlog.eventql.types import DATETIME, INT, JSON, NULL, STRING

NOWHERE = Span(0, 0)


def test_groups_know_keys_and_results_and_no_rows() -> None:
    environment = GroupEnvironment(GeneratedModule(), is_key_event_time=False)
    field = FieldAccess(0, ("id",), STRING, NOWHERE)

    assert environment.group_key(GroupKey(INT, NOWHERE)).text == "k0"
    assert environment.aggregate(AggregateValue(3, INT, NOWHERE)).text == "y0[3]"
    assert not environment.is_event_id(field)
    with pytest.raises(AssertionError):
        environment.field(field)


def test_a_key_that_is_the_text_of_a_time_says_so() -> None:
    key = GroupKey(DATETIME, NOWHERE)

    assert GroupEnvironment(GeneratedModule(), is_key_event_time=True).group_key(key).is_event_time
    assert (
        not GroupEnvironment(GeneratedModule(), is_key_event_time=False)
        .group_key(key)
        .is_event_time
    )


def test_results_are_as_large_as_their_types_allow() -> None:
    environment = GroupEnvironment(GeneratedModule(), is_key_event_time=False)
    sizes = [
        environment.aggregate(AggregateValue(0, type_, NOWHERE)).size_max
        for type_ in (INT | NULL, STRING, JSON)
    ]

    assert sizes == sorted(sizes)
    assert sizes[0] < 100 < sizes[1] < sizes[2]

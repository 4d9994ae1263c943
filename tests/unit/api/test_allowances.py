"""Allowances refill with time, are never exceeded, and need bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from everlog.api.allowances import Allowances

SIZE = 10
PER_SECOND = 2


def allowances(*, clients_max: int = 100) -> Allowances:
    return Allowances(size=SIZE, per_second=PER_SECOND, clients_max=clients_max)


def test_a_client_may_use_its_allowance_at_once_and_not_more() -> None:
    table = allowances()

    takings = [table.take("a", 4, now=0) for _ in range(3)]

    assert [taking.is_granted for taking in takings] == [True, True, False]
    assert [taking.remaining for taking in takings] == [6, 2, 2]


def test_what_was_not_granted_is_granted_after_the_wait_and_not_before() -> None:
    table = allowances()
    table.take("a", SIZE, now=0)

    wait = table.take("a", 4, now=0).wait_seconds

    assert wait == 2.0
    assert not table.take("a", 4, now=1.9).is_granted
    assert table.take("a", 4, now=2.0).is_granted


def test_an_allowance_never_grows_beyond_its_size() -> None:
    table = allowances()
    table.take("a", SIZE, now=0)

    assert table.take("a", 1, now=1_000_000).remaining == SIZE - 1


def test_clients_have_nothing_to_do_with_each_other() -> None:
    table = allowances()
    table.take("a", SIZE, now=0)

    assert not table.take("a", 1, now=0).is_granted
    assert table.take("b", SIZE, now=0).is_granted


def test_beyond_the_bound_the_one_heard_of_longest_ago_is_forgotten() -> None:
    table = allowances(clients_max=2)
    for client in ("a", "b", "a", "c"):
        table.take(client, 5, now=0)

    assert len(table) == 2
    # "b" was forgotten, and "a" was not: it has used up everything.
    assert not table.take("a", 1, now=0).is_granted
    assert table.take("b", SIZE, now=0).is_granted


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(min_value=1, max_value=SIZE),
            st.floats(min_value=0, max_value=5),
        ),
        max_size=60,
    )
)
def test_in_no_time_does_a_client_get_more_than_its_share(
    wishes: list[tuple[str, int, float]],
) -> None:
    table = allowances(clients_max=3)
    now = 0.0
    granted: dict[str, float] = {}
    for client, cost, pause in wishes:
        now += pause
        taking = table.take(client, cost, now=now)
        assert 0 <= taking.remaining <= SIZE
        assert taking.wait_seconds <= SIZE / PER_SECOND
        if taking.is_granted:
            granted[client] = granted.get(client, 0) + cost
        assert granted.get(client, 0) <= SIZE + now * PER_SECOND + 1e-6
        assert len(table) <= 3


def test_what_a_client_was_granted_elsewhere_is_taken_as_far_as_it_is_there() -> None:
    table = allowances(clients_max=2)

    table.spend("a", 7, now=0)
    assert table.take("a", 3, now=0).is_granted
    table.spend("a", 5, now=0)
    assert table.take("a", PER_SECOND, now=1).is_granted

    for client in ("b", "c"):
        table.spend(client, 1, now=1)
    assert len(table) == 2

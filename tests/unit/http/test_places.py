"""Who gets a place, and who has to go for whom."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.http import Crowding, Limits
from everlog.http.places import Place, Places, name_address

MAX = 10


class FakeGuest:
    """A connection that may be idle since some time."""

    def __init__(self, *, idle_since: float | None = 0.0) -> None:
        self.place: Place | None = None
        self.is_known = False
        self.is_aborted = False
        self._idle_since = idle_since

    def idle_since(self) -> float | None:
        return self._idle_since

    def abort(self) -> None:
        assert self.place is None
        self.is_aborted = True


class Room:
    """Places with a clock and a memory of what was said."""

    def __init__(self, shared: Iterable[str] = (), *, share_max: float = 1.0) -> None:
        self.now = 0.0
        self.said: list[Crowding] = []
        self.places = Places(
            Limits(connections_max=MAX, connections_share_max=share_max),
            is_shared=frozenset(shared).__contains__,
            clock=lambda: self.now,
            on_crowded=self.said.append,
        )

    def enter(
        self, address: str, *, is_known: bool = False, idle_since: float | None = 0.0
    ) -> FakeGuest:
        guest = FakeGuest(idle_since=idle_since)
        if self.places.enter(guest, address) and is_known:
            self.places.judge(guest, is_known=True)
        return guest


def test_who_comes_gets_the_place_of_the_stranger_heard_of_longest_ago() -> None:
    room = Room()
    first, second, *_others = [room.enter("a") for _ in range(MAX)]
    room.places.judge(first, is_known=False)

    newcomer = room.enter("b")

    assert newcomer.place is not None
    assert second.is_aborted
    assert not first.is_aborted
    assert room.places.count == MAX
    assert (room.places.closed_count, room.places.refused_count) == (1, 0)


def test_a_stranger_of_the_address_that_has_most_strangers_goes() -> None:
    room = Room()
    room.enter("b")
    some = [room.enter("a") for _ in range(3)]
    known = [room.enter("c", is_known=True) for _ in range(6)]

    for newcomers in ("d", "d", "a"):
        room.enter(newcomers)

    # Three, then two, then as many as the others.
    assert [guest.is_aborted for guest in some] == [True, True, False]
    assert not any(guest.is_aborted for guest in known)
    assert room.places.count == MAX


def test_who_is_known_is_not_closed_for_its_own_address_or_while_it_is_served() -> None:
    room = Room()
    guests = [room.enter("a", is_known=True) for _ in range(MAX)]
    assert room.enter("a").place is None

    room = Room()
    guests += [room.enter("a", is_known=True, idle_since=None) for _ in range(MAX)]
    assert room.enter("b").place is None
    assert not any(guest.is_aborted for guest in guests)
    assert room.places.refused_count == 1


def test_of_the_known_one_that_is_idle_goes_for_an_address_that_has_fewer() -> None:
    room = Room()
    for since in (None, 5.0, 3.0, 4.0):
        last = room.enter("a", is_known=True, idle_since=since)
    idlest = (
        [guest for guest in last.place.known if guest.idle_since() == 3.0] if last.place else []
    )
    for _ in range(3):
        room.enter("b", is_known=True)
        room.enter("c", is_known=True, idle_since=None)

    assert room.enter("d").place is not None
    assert [guest.is_aborted for guest in idlest if isinstance(guest, FakeGuest)] == [True]


def test_an_idle_one_is_not_looked_for_again_and_again() -> None:
    room = Room()
    guests = [room.enter("a", is_known=True, idle_since=None) for _ in range(MAX)]
    assert room.enter("b").place is None
    for guest in guests:
        guest._idle_since = 0.0
    assert room.enter("b").place is None
    room.now += 1.0
    assert room.enter("b").place is not None


def test_whoever_fails_to_show_the_token_is_a_stranger_again() -> None:
    room = Room()
    guest = room.enter("a", is_known=True)
    room.places.judge(guest, is_known=False)
    for _ in range(MAX - 1):
        room.enter("b", is_known=True)

    room.enter("c")

    assert guest.is_aborted


def test_an_address_leaves_a_share_to_others() -> None:
    room = Room(share_max=0.5)
    strangers = [room.enter("a") for _ in range(MAX)]
    assert room.places.count == MAX // 2
    # Its own go for those who come from it.
    assert [guest.is_aborted for guest in strangers] == [True] * 5 + [False] * 5
    for _ in range(MAX):
        room.enter("b", is_known=True)
    # Half of what is left.
    assert room.places.count == 5 + 2
    assert room.places.refused_count == MAX - 2
    # Whoever comes alone always finds one.
    for address in ("c", "d", "e"):
        assert room.enter(address, is_known=True).place is not None
    assert room.places.count == MAX
    assert not room.said[-1].address_connections > 5


def test_shared_addresses_may_have_all_places() -> None:
    room = Room(shared=["a"], share_max=0.5)
    for _ in range(MAX):
        assert room.enter("a", is_known=True).place is not None
    assert room.places.count == MAX


def test_it_is_said_once_a_minute() -> None:
    room = Room()
    for _ in range(MAX + 5):
        room.enter("a")
    assert room.said == [
        Crowding(connections=MAX, address="a", address_connections=MAX, closed=1, refused=0)
    ]
    room.now += 59.9
    room.enter("b")
    assert len(room.said) == 1
    room.now += 0.1
    room.enter("b")
    assert [(said.closed, said.refused) for said in room.said] == [(1, 0), (6, 0)]


def test_whoever_has_no_place_may_leave_and_be_judged() -> None:
    room = Room()
    guest = FakeGuest()
    room.places.leave(guest)
    room.places.judge(guest, is_known=True)
    assert not guest.is_known


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["enter", "leave", "know", "forget"]), st.integers(0, 30)),
        max_size=120,
    )
)
def test_whatever_happens_the_places_are_counted_right(steps: list[tuple[str, int]]) -> None:
    room = Room(shared=["0", "1"], share_max=0.6)
    places = room.places
    guests: list[FakeGuest] = []
    for name, number in steps:
        if name == "enter":
            guests.append(room.enter(str(number % 5)))
        elif guests:
            guest = guests[number % len(guests)]
            if name == "leave":
                places.leave(guest)
            else:
                places.judge(guest, is_known=name == "know")
        here = [guest for guest in guests if guest.place is not None]
        strangers = Counter(guest.place.address for guest in here if not guest.is_known)
        assert places.count == len(here) <= MAX
        assert all(guest.place is None for guest in guests if guest.is_aborted)
        assert {place.address: place.count for place in places._by_address.values()} == Counter(
            guest.place.address for guest in here
        )
        assert places._most == max(strangers.values(), default=0)
        assert {
            place.address: count for count, crowd in places._crowds.items() for place in crowd
        } == strangers


@pytest.mark.parametrize(
    "address, name",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("::1", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_ipv6_network_is_one_client(address: str, name: str) -> None:
    assert name_address(address) == name

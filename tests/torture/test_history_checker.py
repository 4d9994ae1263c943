"""The checker of histories finds what cannot have happened, and nothing else."""

from collections.abc import Callable, Sequence

import pytest

from tests.support.history import (
    Accepted,
    Condition,
    Event,
    History,
    Kind,
    Log,
    Observation,
    Read,
    Reads,
    Refused,
    Selection,
    Unavailable,
    Write,
)
from tests.support.history_checker import find_differences, find_violations


def an_event(position: int, write: str, index: int, subject: str) -> Event:
    return {"id": str(position), "subject": subject, "data": {"write": write, "index": index}}


EVERYTHING = Selection()

# Three writes, the second one of two events.
LOG = Log(
    [
        an_event(0, "a", 0, "/x"),
        an_event(1, "b", 0, "/x"),
        an_event(2, "b", 1, "/y/z"),
        an_event(3, "c", 0, "/x"),
    ]
)


def a_write(key: str, *, at: float, **changes: object) -> Write:
    """Return a write that took from a moment to half a second later, as the log has it."""
    events = [LOG.events[position] for position in LOG.writes.get(key, [])]
    members: dict[str, object] = {
        "subjects": [event["subject"] for event in events],
        "invoked": at,
        "answered": at + 0.5,
        "outcome": Accepted(events),
    }
    return Write(key=key, **{**members, **changes})


def a_refused(*conditions: Condition, at: float, index: int | None = 0) -> Write:
    return Write(
        key="r",
        subjects=["/x"],
        conditions=conditions,
        invoked=at,
        answered=at + 0.5,
        outcome=Refused(index),
    )


def a_read(
    *positions: int,
    at: float,
    answered: float | None = None,
    selection: Selection = EVERYTHING,
    node: str = "",
    mode: Reads = Reads.CURRENT,
) -> Read:
    return Read(
        client="r",
        node=node,
        mode=mode,
        selection=selection,
        invoked=at,
        answered=at + 0.5 if answered is None else answered,
        events=[LOG.events[position] for position in positions],
    )


def a_local_read(*positions: int, at: float, node: str = "one") -> Read:
    return a_read(*positions, at=at, node=node, mode=Reads.LOCAL)


def an_observation(
    *positions: int, selection: Selection = EVERYTHING, at: float = 10.0, node: str = ""
) -> Observation:
    sightings = [(at + position, LOG.events[position]) for position in positions]
    return Observation(client="o", node=node, selection=selection, sightings=sightings)


A, B, C = (a_write(key, at=at) for at, key in enumerate("abc", start=1))


def findings(
    writes: Sequence[Write] = (A, B, C),
    *,
    more: Sequence[Write] = (),
    reads: Sequence[Read] = (),
    observations: Sequence[Observation] = (),
    log: Log = LOG,
) -> list[str]:
    history = History(writes=[*writes, *more], reads=list(reads), observations=list(observations))
    return find_violations(history, log)


PRISTINE_X = Condition(Kind.PRISTINE, "/x")
PRISTINE_Y = Condition(Kind.PRISTINE, "/y")
POPULATED_Y = Condition(Kind.POPULATED, "/y")
POPULATED_BELOW_Y = Condition(Kind.POPULATED, "/y", recursive=True)
X_ON_0 = Condition(Kind.ON_EVENT_ID, "/x", event_id=0)
ROOT_ON_2 = Condition(Kind.ON_EVENT_ID, "/", recursive=True, event_id=2)
X = Selection("/x", recursive=False)
BELOW_Y = Selection("/y", recursive=True)

SOUND: dict[str, Callable[[], list[str]]] = {
    "as it was": findings,
    "writes at the same time, in either order": lambda: findings(
        [A, a_write("b", at=3.0), a_write("c", at=2.9)]
    ),
    "no answer, and stored": lambda: findings([A, B, a_write("c", at=3, outcome=None)]),
    "no answer, and not stored": lambda: findings(
        more=[a_write("d", at=4, subjects=["/x"], outcome=None)]
    ),
    "true preconditions": lambda: findings(
        [
            a_write("a", at=1, conditions=[PRISTINE_X]),
            a_write("b", at=2, conditions=[X_ON_0, PRISTINE_Y]),
            a_write("c", at=3, conditions=[ROOT_ON_2, POPULATED_BELOW_Y]),
        ]
    ),
    "true refusals": lambda: findings(
        more=[a_refused(X_ON_0, at=0.1), a_refused(PRISTINE_X, at=2.1, index=None)]
    ),
    "a refusal by the second precondition": lambda: findings(
        more=[a_refused(PRISTINE_Y, X_ON_0, at=4, index=1)]
    ),
    "a refusal that was true for a moment only": lambda: findings(
        [A, a_write("b", at=2, answered=9.0), a_write("c", at=3, answered=9.0)],
        # After the second write, before the third one.
        more=[a_refused(Condition(Kind.PRISTINE, "/y", recursive=True), at=3.1)],
    ),
    "reads that grow": lambda: findings(
        reads=[
            a_read(at=0.1),
            a_read(0, at=1.6),
            a_read(0, 1, 2, at=2.1),
            a_read(0, 1, 2, 3, at=4),
            a_read(3, at=5, selection=Selection(lower=3)),
        ]
    ),
    "reads of one subject": lambda: findings(
        reads=[
            a_read(0, 1, at=2.1, selection=X),
            a_read(2, at=4, selection=BELOW_Y),
            a_read(at=4, selection=Selection("/y", recursive=False)),
        ]
    ),
    "observers": lambda: findings(
        observations=[
            an_observation(0, 1, 2, 3),
            an_observation(0, 1),
            an_observation(0, 1, 3, selection=X),
            an_observation(2, selection=BELOW_Y),
            an_observation(2, 3, selection=Selection(lower=2)),
            an_observation(),
        ]
    ),
    "local reads of what another node has acknowledged long ago": lambda: findings(
        [a_write(key, at=at, node="two") for at, key in enumerate("abc", start=1)],
        reads=[a_local_read(at=5), a_local_read(0, at=6), a_local_read(0, 1, 2, at=7)],
    ),
    "local reads of two nodes, of which one is behind": lambda: findings(
        reads=[
            a_local_read(0, 1, 2, 3, at=5, node="one"),
            a_local_read(0, at=6, node="two"),
            a_local_read(0, 1, 2, 3, at=7, node="one"),
        ]
    ),
    "a local read while the node acknowledges": lambda: findings(
        [A, B, a_write("c", at=3, answered=4.0, node="one")], reads=[a_local_read(0, 1, 2, at=3.8)]
    ),
    "nothing stored of what was put off": lambda: findings(
        more=[a_write("d", at=4, subjects=["/x"], outcome=Unavailable())]
    ),
}

BROKEN: dict[str, tuple[Callable[[], list[str]], str]] = {
    "a write that nobody sent": (lambda: findings([A, B]), "a write c that nobody sent"),
    "a lost write": (
        lambda: findings(more=[a_write("d", at=4, outcome=Accepted([{"id": "4"}]))]),
        "d was acknowledged with 1 events and is lost",
    ),
    "other events than were answered": (
        lambda: findings([A, B, a_write("c", at=3, outcome=Accepted(LOG.events[:1]))]),
        "c is not stored as it was acknowledged",
    ),
    "a refused write that is stored": (
        lambda: findings([A, B, a_write("c", at=3, outcome=Refused(0))]),
        "c was refused and is stored",
    ),
    "half a write": (
        lambda: findings([A, a_write("b", at=2, outcome=None), C], log=Log(LOG.events[:2])),
        "b has 2 events, of which the log holds 1",
    ),
    "a write in two pieces": (
        lambda: findings(
            [A, a_write("b", at=2, outcome=None), C],
            log=Log([LOG.events[0], LOG.events[1], LOG.events[3], LOG.events[2]]),
        ),
        "b is not in one piece: [1, 3]",
    ),
    "a write twice": (
        lambda: findings(log=Log([*LOG.events, an_event(4, "c", 0, "/x")])),
        "c has 1 events, of which the log holds 2",
    ),
    "a subject that was not asked for": (
        lambda: findings([A, a_write("b", at=2, subjects=["/x", "/z"]), C]),
        "b is not on the subjects",
    ),
    "a write before one that had been answered": (
        lambda: findings([A, a_write("b", at=4), C]),
        "b is at 1, though 4 events were there before it",
    ),
    "a write before an event that had been read": (
        lambda: findings(
            [A, a_write("b", at=2, outcome=None), a_write("c", at=1, answered=9.0)],
            reads=[a_read(0, 1, 2, 3, at=1.1, answered=1.2)],
        ),
        "b is at 1, though 4 events were there before it",
    ),
    "a false acceptance": (
        lambda: findings([A, B, a_write("c", at=3, conditions=[X_ON_0])]),
        "c is at 3, where this did not hold",
    ),
    "a false acceptance below a subject": (
        lambda: findings([A, B, a_write("c", at=3, conditions=[POPULATED_Y])]),
        "c is at 3, where this did not hold",
    ),
    "a refusal before the reason was there": (
        lambda: findings(more=[a_refused(PRISTINE_X, at=0.1)]),
        "r was refused, but from 0 to 0",
    ),
    "a refusal after the reason had passed": (
        lambda: findings(more=[a_refused(POPULATED_BELOW_Y, at=4)]),
        "r was refused, but from 4 to 4",
    ),
    "a refusal by another precondition than is said": (
        lambda: findings(more=[a_refused(PRISTINE_X, X_ON_0, at=4, index=1)]),
        "r was refused, but from 4 to 4",
    ),
    "a read that lacks an acknowledged write": (
        lambda: findings(reads=[a_read(0, at=2.6)]),
        "as of 1 to 1, though the log went from 3 to 4",
    ),
    "a read that knows the future": (
        lambda: findings(reads=[a_read(0, 1, 2, 3, at=2.1)]),
        "as of 4 to 4, though the log went from 1 to 3",
    ),
    "a read of half a write": (
        lambda: findings(reads=[a_read(0, 1, at=2.1)]),
        "as of 2 to 2, though the log went from 1 to 3",
    ),
    "a read that goes back behind another one": (
        lambda: findings(
            [A, a_write("b", at=2, answered=9.0), a_write("c", at=9.5)],
            reads=[a_read(0, 1, 2, at=2.1), a_read(0, at=2.7)],
        ),
        "as of 1 to 1, though the log went from 3 to 3",
    ),
    "a read with a hole": (
        lambda: findings(reads=[a_read(0, 3, at=4)]),
        "not what the log holds",
    ),
    "a read of another subject's event": (
        lambda: findings(reads=[a_read(0, 1, 2, at=4, selection=X)]),
        "not what the log holds",
    ),
    "an observer with a hole": (
        lambda: findings(observations=[an_observation(0, 1, 3)]),
        "its event number 2 has the id 3, where the log has [2]",
    ),
    "an observer that saw an event twice": (
        lambda: findings(observations=[an_observation(0, 1, 1)]),
        "its event number 2 has the id 1, where the log has [2]",
    ),
    "an observer that saw more than there is": (
        lambda: findings(observations=[an_observation(0, 1, 2, 3, 3)]),
        "its event number 4 has the id 3, where the log has []",
    ),
    "an observer that began too early": (
        lambda: findings(observations=[an_observation(1, 2, selection=Selection(lower=2))]),
        "its event number 0 has the id 1, where the log has [2]",
    ),
    "a current read without what another node acknowledged": (
        lambda: findings(
            [A, B, a_write("c", at=3, node="two")], reads=[a_read(0, at=4, node="one")]
        ),
        "as of 1 to 1 at one, though the log went from 4 to 4",
    ),
    "a current read without what another node showed locally": (
        lambda: findings(
            [A, B, a_write("c", at=3, outcome=None)],
            reads=[a_local_read(0, 1, 2, 3, at=4, node="two"), a_read(0, 1, 2, at=5, node="one")],
        ),
        "as of 3 to 3 at one, though the log went from 4 to 4",
    ),
    "a current read without what another node's observer saw": (
        lambda: findings(
            [A, B, a_write("c", at=3, outcome=None)],
            observations=[an_observation(0, 1, 2, 3, at=2, node="two")],
            reads=[a_read(0, 1, 2, at=6, node="one")],
        ),
        "as of 3 to 3 at one, though the log went from 4 to 4",
    ),
    "a local read that goes back behind another one of its node": (
        lambda: findings(reads=[a_local_read(0, 1, 2, 3, at=5), a_local_read(0, 1, 2, at=6)]),
        "as of 3 to 3 at one, though the log went from 4 to 4",
    ),
    "a local read that lacks what its node acknowledged": (
        lambda: findings([A, B, a_write("c", at=3, node="one")], reads=[a_local_read(0, at=4)]),
        "as of 1 to 1 at one, though the log went from 4 to 4",
    ),
    "a local read that lacks what an observer of its node saw": (
        lambda: findings(
            observations=[an_observation(0, 1, 2, at=2, node="one")],
            reads=[a_local_read(0, at=6)],
        ),
        "as of 1 to 1 at one, though the log went from 3 to 4",
    ),
    "a local read of half a write": (
        lambda: findings(reads=[a_local_read(0, 1, at=5)]),
        "as of 2 to 2 at one, though the log went from 0 to 4",
    ),
    "a local read that knows the future": (
        lambda: findings(reads=[a_local_read(0, 1, 2, 3, at=2.1)]),
        "as of 4 to 4 at one, though the log went from 0 to 3",
    ),
    "a local read with a hole": (
        lambda: findings(reads=[a_local_read(0, 3, at=4)]),
        "not what the log holds",
    ),
    "a refusal by a state that another node has left behind": (
        lambda: findings(
            [A, B, a_write("c", at=3, node="two")],
            more=[a_refused(Condition(Kind.ON_EVENT_ID, "/x", event_id=3), at=3.6)],
        ),
        "r was refused, but from 4 to 4",
    ),
    "a put off write that is stored": (
        lambda: findings([A, B, a_write("c", at=3, outcome=Unavailable())]),
        "c was told that nothing was stored, and is stored",
    ),
    "a write that two nodes stored": (
        lambda: findings(
            [A, B, a_write("c", at=3, outcome=None)],
            log=Log([*LOG.events, an_event(4, "c", 0, "/x")]),
        ),
        "c has 1 events, of which the log holds 2",
    ),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_can_have_happened_is_not_complained_about(case: str) -> None:
    assert SOUND[case]() == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_have_happened_is_found(case: str) -> None:
    judge, sentence = BROKEN[case]

    assert any(sentence in finding for finding in judge()), judge()


def test_a_surprising_answer_is_a_finding() -> None:
    assert find_violations(History(surprises=["w was answered 500"]), Log([])) != []


def test_what_a_rival_wrote_is_nobodys_finding_once_it_is_noted() -> None:
    log = Log([*LOG.events, *(an_event(4 + index, "rival-1", index, "/x") for index in range(2))])
    history = History(writes=[A, B, C])
    assert find_violations(history, log) == ["the log holds a write rival-1 that nobody sent"]

    for _ in range(2):
        history.note_rivals(log)

    assert find_violations(history, log) == []
    assert len(history.writes) == 4
    torn = Log([*LOG.events, an_event(4, "rival-1", 0, "/x"), an_event(5, "rival-1", 0, "/x")])
    assert find_violations(history, torn) != []


COPIES: dict[str, tuple[list[bytes], str]] = {
    "one event less": ([b"a", b"b"], "from 2 on they differ"),
    "one event more": ([b"a", b"b", b"c", b"d"], "from 3 on they differ"),
    "another event": ([b"a", b"x", b"c"], "from 1 on they differ"),
    "another order": ([b"b", b"a", b"c"], "from 0 on they differ"),
}


@pytest.mark.parametrize("case", COPIES)
def test_copies_that_are_not_the_same_are_found(case: str) -> None:
    lines, sentence = COPIES[case]
    same = [b"a", b"b", b"c"]

    assert [*find_differences({"one": same, "two": [*same]})] == []
    (found,) = find_differences({"one": same, "two": [*same], "three": lines})
    assert found.startswith("three has")
    assert found.endswith(sentence)

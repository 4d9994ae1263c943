"""What every engine promises about reading: consistent views of everything up to a head."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from everlog.domain.time import parse_time
from everlog.storage.engine import ChildSubjects, Engine, EventType, Head, Scan, SubjectCounts
from everlog.storage.line import parse_line
from everlog.storage.log.reading import LogView
from tests.support.engines import (
    content_of,
    event_types_of,
    few_lines,
    positions_of,
    read,
    split_lines,
    subjects_of,
)
from tests.support.events import a_candidate, a_schema, seal, stage, store, store_staged

ONE, TWO = "io.everlog.one", "io.everlog.two"

# Position by position.
LIBRARY = (
    ("/books/42", ONE),
    ("/books", TWO),
    ("/books/42/pages/1", ONE),
    ("/readers/23", ONE),
    ("/books/42", TWO),
    ("/", ONE),
    ("/books-old/42", TWO),
    ("/books/42", ONE),
    ("/readers/23", TWO),
    ("/books/7", ONE),
)


@pytest.fixture
def library(engine: Engine) -> Iterator[Engine]:
    candidates = [a_candidate(subject, type_) for subject, type_ in LIBRARY]
    store(engine, *candidates[:4])
    stage(engine, *candidates[4:6])
    stage(engine, *candidates[6:])
    store_staged(engine)
    return engine


# Each row: subject, whether recursive, event type, and the positions.
SELECTIONS: tuple[tuple[str, bool, str | None, list[int]], ...] = (
    ("/", True, None, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("/", False, None, [5]),
    ("/", True, ONE, [0, 2, 3, 5, 7, 9]),
    ("/", True, TWO, [1, 4, 6, 8]),
    ("/", True, "io.everlog.missing", []),
    ("/books", True, None, [0, 1, 2, 4, 7, 9]),
    ("/books", False, None, [1]),
    ("/books", True, TWO, [1, 4]),
    ("/books/42", True, None, [0, 2, 4, 7]),
    ("/books/42", False, None, [0, 4, 7]),
    ("/books/42", False, ONE, [0, 7]),
    ("/books/42", False, "io.everlog.missing", []),
    ("/books/42/pages", True, None, [2]),
    ("/books/42/pages", False, None, []),
    ("/books/42/pages/1", True, TWO, []),
    ("/readers", True, None, [3, 8]),
    ("/book", True, None, []),
    ("/books/4", True, None, []),
    ("/books/42/pages/1/lines", True, None, []),
    ("/missing", True, None, []),
    ("/missing", False, ONE, []),
)

BOUNDS = ((0, 10), (0, 0), (0, 1), (1, 4), (4, 5), (5, 5), (7, 10), (9, 10), (9, 99), (10, 20))


def check_scan(
    engine: Engine, subject: str, event_type: str | None, expected: list[int], *, recursive: bool
) -> None:
    for start, stop in BOUNDS:
        within = [position for position in expected if start <= position < stop]
        for is_reversed in (False, True):
            log = read(
                engine,
                subject,
                recursive=recursive,
                event_type=event_type,
                start=start,
                stop=stop,
                is_reversed=is_reversed,
            )
            assert positions_of(log) == (within[::-1] if is_reversed else within)


@pytest.mark.parametrize("subject, recursive, event_type, expected", SELECTIONS)
def test_a_scan_yields_what_is_selected(
    library: Engine, subject: str, event_type: str | None, expected: list[int], *, recursive: bool
) -> None:
    check_scan(library, subject, event_type, expected, recursive=recursive)


# Each row: what selects, and the positions.
SETS: tuple[tuple[dict[str, Any], list[int]], ...] = (
    ({"event_types": frozenset({ONE, TWO, "io.everlog.missing"})}, list(range(10))),
    ({"event_types": frozenset({TWO, "io.everlog.missing"})}, [1, 4, 6, 8]),
    ({"event_types": frozenset()}, []),
    ({"subjects": frozenset({"/", "/books", "/missing", "/books/42"})}, [0, 1, 4, 5, 7]),
    ({"subjects": frozenset({"/books/42"}), "event_types": frozenset({ONE})}, [0, 7]),
    ({"subjects": frozenset({"/books/42/pages"})}, []),
    ({"subjects": frozenset()}, []),
    ({"subject_prefix": ""}, list(range(10))),
    ({"subject_prefix": "/"}, list(range(10))),
    ({"subject_prefix": "/books"}, [0, 1, 2, 4, 6, 7, 9]),
    ({"subject_prefix": "/books/"}, [0, 2, 4, 7, 9]),
    ({"subject_prefix": "/books/4"}, [0, 2, 4, 7]),
    ({"subject_prefix": "/books/42/"}, [2]),
    ({"subject_prefix": "/books//"}, []),
    ({"subject_prefix": "books"}, []),
    ({"subject_prefix": "/b", "event_types": frozenset({TWO})}, [1, 4, 6]),
)


def check_all_ways(engine: Engine, selection: dict[str, Any], expected: list[int]) -> None:
    lines = split_lines(read(engine))
    for start, stop in BOUNDS:
        for is_reversed in (False, True):
            scan = Scan(start=start, stop=stop, is_reversed=is_reversed, **selection)
            within = [position for position in expected if start <= position < stop]
            types = Counter(LIBRARY[position][1] for position in within)

            found = b"".join(engine.scan(scan, engine.head))
            located = engine.locate(scan, engine.head)

            assert positions_of(found) == (within[::-1] if is_reversed else within)
            assert engine.count(scan, engine.head) == len(within)
            assert located.event_count == len(within)
            assert engine.count_by_event_type(scan, engine.head) == types
            files = engine.files(engine.head)
            if files is not None:
                with LogView(files) as view:
                    assert b"".join(view.scan(located)) == found
    assert [lines[position] for position in expected] == split_lines(
        b"".join(engine.scan(Scan(start=0, stop=99, **selection), engine.head))
    )


@pytest.mark.parametrize("selection, expected", SETS)
def test_a_scan_can_be_of_several_subjects_and_types(
    library: Engine, selection: dict[str, Any], expected: list[int]
) -> None:
    check_all_ways(library, selection, expected)


def test_counts_by_event_type_are_in_the_order_of_first_events(library: Engine) -> None:
    head = library.head
    for start, expected in ((0, [ONE, TWO]), (1, [TWO, ONE]), (6, [TWO, ONE]), (9, [ONE])):
        counts = library.count_by_event_type(Scan(start=start, stop=99), head)
        assert list(counts) == expected


def test_counts_of_an_older_head_leave_out_what_came_later(engine: Engine) -> None:
    heads = [engine.head]
    for subject, type_ in LIBRARY:
        store(engine, a_candidate(subject, type_))
        heads.append(engine.head)
    stage(engine, a_candidate("/", "io.everlog.staged"))

    # The latest first, so that what was counted once is there for the earlier ones.
    for count, head in reversed(list(enumerate(heads))):
        types = Counter(type_ for _, type_ in LIBRARY[:count])
        assert engine.count_by_event_type(Scan(start=0, stop=99), head) == types
        assert (
            engine.count(Scan(start=0, stop=99, event_types=frozenset({ONE})), head) == types[ONE]
        )


def test_counts_of_an_older_head_know_nothing_of_a_schema_that_came_later(engine: Engine) -> None:
    store(engine, a_candidate(type_=ONE))
    older = engine.head
    engine.stage_schema(a_schema("io.everlog.phantom"))
    store_staged(engine)

    for head in (engine.head, older):
        assert engine.count_by_event_type(Scan(start=0, stop=99), head) == {ONE: 1}


def test_a_time_is_found_between_the_events(library: Engine) -> None:
    head = library.head
    times = [parse_time(parse_line(line)[0].time) for line in split_lines(read(library))]
    for time in {0, *times, *(time + 1 for time in times), *(time - 1 for time in times)}:
        expected = sum(found < time for found in times)
        assert library.find_time(time, head) == expected


def test_a_scan_of_an_older_head_ends_with_it(engine: Engine) -> None:
    heads = [engine.head]
    for subject, type_ in LIBRARY:
        store(engine, a_candidate(subject, type_))
        heads.append(engine.head)

    for count, head in enumerate(heads):
        for subject, recursive, event_type, expected in SELECTIONS:
            for is_reversed in (False, True):
                log = read(
                    engine,
                    subject,
                    recursive=recursive,
                    event_type=event_type,
                    stop=99,
                    is_reversed=is_reversed,
                    head=head,
                )
                found = sorted(positions_of(log), reverse=is_reversed)
                visible = {position for position in expected if position < count}
                assert positions_of(log) == found
                assert set(found) == visible


def test_lines_are_the_same_whatever_selects_them(library: Engine) -> None:
    lines = split_lines(read(library))

    for subject, recursive, event_type, expected in SELECTIONS:
        log = read(library, subject, recursive=recursive, event_type=event_type)
        assert split_lines(log) == [lines[position] for position in expected]


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("subject", ["/", "/half", "/rare"])
def test_blocks_are_whole_lines_of_bounded_size(
    engine: Engine, subject: str, *, is_reversed: bool
) -> None:
    data = '{"text":"' + "x" * 20_000 + '"}'
    for number in range(64):
        name = "/rare" if number % 21 == 0 else ("/half/a", "/other")[number % 2]
        store(engine, a_candidate(name, data=data))
    scan = Scan(subject=subject, recursive=True, start=0, stop=64, is_reversed=is_reversed)

    blocks = list(engine.scan(scan, engine.head))

    assert all(block.endswith(b"\n") for block in blocks)
    assert all(len(block) <= 2 * 1024 * 1024 for block in blocks)
    positions = positions_of(b"".join(blocks))
    assert positions == sorted(positions, reverse=is_reversed)
    assert len(positions) == {"/": 64, "/half": 30, "/rare": 4}[subject]


def test_a_scan_that_goes_on_while_others_write_ends_at_its_head(library: Engine) -> None:
    blocks = library.scan(Scan(subject="/books", recursive=True, start=0, stop=99), library.head)
    store(library, *[a_candidate("/books/new")] * 50)

    assert positions_of(b"".join(blocks)) == [0, 1, 2, 4, 7, 9]


def test_the_latest_event_of_a_type_is_found_on_exactly_the_subject(library: Engine) -> None:
    head = library.head
    rows = {
        ("/books/42", ONE): 7,
        ("/books/42", TWO): 4,
        ("/books", TWO): 1,
        ("/books", ONE): None,
        ("/", ONE): 5,
        ("/", TWO): None,
        ("/books/42/pages", ONE): None,
        ("/readers/23", TWO): 8,
        ("/missing", ONE): None,
        ("/books/42", "io.everlog.missing"): None,
    }
    for (subject, event_type), expected in rows.items():
        assert library.find_latest(subject, event_type, head) == expected


def test_the_latest_event_is_that_of_the_head(engine: Engine) -> None:
    store(engine, a_candidate("/a", ONE))
    older = engine.head
    store(engine, a_candidate("/a", ONE), a_candidate("/b", TWO))
    stage(engine, a_candidate("/a", ONE), a_candidate("/c", "io.everlog.new"))

    assert engine.find_latest("/a", ONE, older) == 0
    assert engine.find_latest("/b", TWO, older) is None
    assert engine.find_latest("/a", ONE, engine.head) == 1
    assert engine.find_latest("/c", "io.everlog.new", engine.head) is None
    assert engine.find_latest("/a", "io.everlog.new", engine.head) is None


def test_a_subject_exists_if_it_or_one_below_has_events(library: Engine) -> None:
    for subject in ("/", "/books", "/books/42/pages", "/books/42/pages/1", "/books-old"):
        assert library.subject_exists(subject, library.head)
    for subject in ("/book", "/books/42/pages/2", "/old", "/books/42/pages/1/lines"):
        assert not library.subject_exists(subject, library.head)


def test_subjects_come_depth_first(library: Engine) -> None:
    everything = [
        "/",
        "/books",
        "/books/42",
        "/books/42/pages",
        "/books/42/pages/1",
        "/books/7",
        "/books-old",
        "/books-old/42",
        "/readers",
        "/readers/23",
    ]
    assert subjects_of(library) == everything
    assert subjects_of(library, "/books") == everything[1:6]
    assert subjects_of(library, "/books/42/pages/1") == ["/books/42/pages/1"]
    assert subjects_of(library, "/missing") == []


def test_subjects_of_an_older_head_stay_what_they_were(engine: Engine) -> None:
    store(engine, a_candidate("/b/c"))
    older = engine.head
    store(engine, a_candidate("/b/a"), a_candidate("/a"))
    stage(engine, a_candidate("/staged"))

    assert subjects_of(engine, head=older) == ["/", "/b", "/b/c"]
    assert subjects_of(engine, "/a", head=older) == []
    assert not engine.subject_exists("/a", older)
    assert subjects_of(engine) == ["/", "/a", "/b", "/b/a", "/b/c"]


def test_many_subjects_come_in_chunks(engine: Engine) -> None:
    names = [f"/s/{number:05d}" for number in range(10_000)]
    for first in range(0, len(names), 5_000):
        store(engine, *[a_candidate(name) for name in reversed(names[first : first + 5_000])])

    chunks = list(engine.subjects("/s", engine.head))

    assert max(map(len, chunks)) <= 5_000
    assert [name for chunk in chunks for name in chunk] == ["/s", *names]


def children_of(
    engine: Engine,
    subject: str,
    *,
    prefix: str = "",
    offset: int = 0,
    limit: int = 1_000,
    head: Head | None = None,
) -> ChildSubjects:
    head = engine.head if head is None else head
    return engine.child_subjects(subject, head, prefix=prefix, offset=offset, limit=limit)


def test_child_subjects_come_in_order_with_what_is_on_them(library: Engine) -> None:
    root = children_of(library, "/")
    assert root.parent == SubjectCounts("/", 1, library.head.event_count, 3)
    assert [child.subject for child in root.children] == ["/books", "/books-old", "/readers"]
    for parent in (root.parent, *root.children):
        found = children_of(library, parent.subject)
        assert found.parent == parent
        assert found.match_count == len(found.children) == parent.child_count
        assert parent.recursive_event_count == parent.event_count + sum(
            child.recursive_event_count for child in found.children
        )
        scans = [
            Scan(
                subject=parent.subject,
                recursive=recursive,
                start=0,
                stop=library.head.event_count,
            )
            for recursive in (False, True)
        ]
        counts = [library.count(scan, library.head) for scan in scans]
        assert counts == [parent.event_count, parent.recursive_event_count]


def test_child_subjects_of_what_is_not_there_are_none(library: Engine) -> None:
    for subject in ("/missing", "/books/42/pages/1/lines"):
        assert children_of(library, subject) == (SubjectCounts(subject, 0, 0, 0), 0, [])
    leaf = children_of(library, "/books/42/pages/1")
    assert (leaf.parent.child_count, leaf.match_count, list(leaf.children)) == (0, 0, [])


def test_child_subjects_are_chosen_by_prefix_and_page_by_page(engine: Engine) -> None:
    names = [f"/s/{number}" for number in range(1_200)]
    store(engine, *[a_candidate(name) for name in names])
    store(engine, a_candidate("/s/1/below"), a_candidate("/t/1"))
    in_order = sorted(names)

    pages = [children_of(engine, "/s", offset=first, limit=500) for first in range(0, 1_500, 500)]
    assert [child.subject for page in pages for child in page.children] == in_order
    assert {page.match_count for page in pages} == {1_200}
    matching = [name for name in in_order if name.startswith("/s/11")]
    some = children_of(engine, "/s", prefix="11", offset=2, limit=5)
    assert some.match_count == len(matching)
    assert [child.subject for child in some.children] == matching[2:7]
    [first] = children_of(engine, "/s", prefix="1", limit=1).children
    assert first == SubjectCounts("/s/1", 1, 2, 1)
    assert children_of(engine, "/s", prefix="1/").match_count == 0
    assert children_of(engine, "/s", prefix="\u00e9").match_count == 0
    assert list(children_of(engine, "/s", limit=0).children) == []
    assert list(children_of(engine, "/s", offset=1_200).children) == []


def test_child_subjects_are_as_of_their_head(engine: Engine) -> None:
    store(engine, a_candidate("/a/1"), a_candidate("/a/2/x"))
    older = engine.head
    before = children_of(engine, "/a")
    store(engine, a_candidate("/a/0"), a_candidate("/a/1"), a_candidate("/a/2/y"))
    now = children_of(engine, "/a")
    stage(engine, a_candidate("/a/1"), a_candidate("/a/3"))

    assert children_of(engine, "/a") == now
    assert children_of(engine, "/a", head=older) == before
    engine.roll_back()
    assert children_of(engine, "/a") == now
    store(engine, a_candidate("/a/4"))
    assert [child.subject[-1] for child in children_of(engine, "/a").children] == [*"0124"]


def test_event_types_have_events_or_a_schema_or_both(engine: Engine) -> None:
    store(engine, a_candidate(type_="io.everlog.used"), a_candidate(type_="io.everlog.both"))
    engine.stage_schema(a_schema("io.everlog.both", '{"type":"object"}'))
    engine.stage_schema(a_schema("io.everlog.phantom"))
    store_staged(engine)

    entries = [
        EventType("io.everlog.both", has_events=True, schema='{"type":"object"}'),
        EventType("io.everlog.phantom", has_events=False, schema=a_schema("").text),
        EventType("io.everlog.used", has_events=True, schema=None),
    ]
    assert event_types_of(engine) == entries
    for entry in entries:
        assert engine.event_type(entry.name, engine.head) == entry
    assert engine.event_type("io.everlog.missing", engine.head) is None


def test_a_phantom_becomes_real_with_its_first_event(engine: Engine) -> None:
    engine.stage_schema(a_schema(ONE))
    store_staged(engine)
    older = engine.head
    stage(engine, a_candidate(type_=ONE))
    assert engine.event_type(ONE, older) == EventType(
        ONE, has_events=False, schema=a_schema(ONE).text
    )

    engine.roll_back()
    assert engine.event_type(ONE, engine.head) == EventType(
        ONE, has_events=False, schema=a_schema(ONE).text
    )

    store(engine, a_candidate(type_=ONE))
    assert engine.event_type(ONE, engine.head) == EventType(
        ONE, has_events=True, schema=a_schema(ONE).text
    )
    assert engine.event_type(ONE, older) == EventType(
        ONE, has_events=False, schema=a_schema(ONE).text
    )


def test_a_phantom_stays_one_when_its_first_event_was_rolled_back(engine: Engine) -> None:
    engine.stage_schema(a_schema(ONE))
    store_staged(engine)
    stage(engine, a_candidate(type_=ONE))
    engine.roll_back()
    store(engine, a_candidate(type_=TWO))

    phantom = EventType(ONE, has_events=False, schema=a_schema(ONE).text)
    assert engine.event_type(ONE, engine.head) == phantom


def test_event_types_of_an_older_head_are_those_there_were(engine: Engine) -> None:
    store(engine, a_candidate(type_=ONE))
    older = engine.head
    store(engine, a_candidate(type_=TWO))
    engine.stage_schema(a_schema("io.everlog.phantom"))
    store_staged(engine)

    assert event_types_of(engine, head=older) == [EventType(ONE, has_events=True, schema=None)]
    assert engine.event_type(TWO, older) is None
    assert engine.event_type("io.everlog.phantom", older) is None


def test_a_schema_appears_when_it_is_published(engine: Engine) -> None:
    store(engine, a_candidate(type_=ONE))
    engine.stage_schema(a_schema(ONE))
    batch = seal(engine)
    engine.commit(batch)
    assert engine.event_type(ONE, engine.head) == EventType(ONE, has_events=True, schema=None)

    engine.publish(batch)
    assert engine.event_type(ONE, engine.head) == EventType(
        ONE, has_events=True, schema=a_schema(ONE).text
    )


def test_a_schema_that_was_rolled_back_never_appears(engine: Engine) -> None:
    engine.stage_schema(a_schema(ONE))
    engine.roll_back()
    store(engine, a_candidate(type_=TWO))

    assert event_types_of(engine) == [EventType(TWO, has_events=True, schema=None)]
    engine.stage_schema(a_schema(ONE))
    store_staged(engine)
    assert [entry.name for entry in event_types_of(engine)] == [ONE, TWO]


def test_reading_twice_gives_the_same(library: Engine) -> None:
    assert content_of(library) == content_of(library)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("start, stop", [(0, 10), (0, 99), (3, 8), (8, 8), (9, 2), (10, 99)])
def test_what_is_read_at_once_is_what_a_scan_yields(
    library: Engine, start: int, stop: int, *, is_reversed: bool
) -> None:
    for subject, recursive, event_type, _ in SELECTIONS:
        scan = Scan(
            subject=subject,
            recursive=recursive,
            start=start,
            stop=stop,
            event_types=None if event_type is None else frozenset({event_type}),
            is_reversed=is_reversed,
        )
        expected = b"".join(library.scan(scan, library.head))
        assert few_lines(library, scan, library.head) in (None, expected)
        assert library.count_few(scan, library.head) in (None, expected.count(b"\n"))
        lines = split_lines(expected)
        for count in (0, 1, 3, len(lines), 99):
            size = library.size(scan, library.head, count_max=count)
            assert size == sum(map(len, lines[:count]))


@pytest.mark.parametrize(
    "chosen", [{"subjects": frozenset({"/books", "/readers/23"})}, {"subject_prefix": "/books"}]
)
def test_what_is_read_at_once_is_never_more_than_a_scan_yields(
    library: Engine, chosen: dict[str, Any]
) -> None:
    scan = Scan(start=0, stop=10, **chosen)
    expected = b"".join(library.scan(scan, library.head))
    assert few_lines(library, scan, library.head) in (None, expected)
    assert library.count_few(scan, library.head) in (None, expected.count(b"\n"))


def test_an_older_head_is_read_at_once_as_it_was(engine: Engine) -> None:
    store(engine, a_candidate("/a"), a_candidate("/b"))
    head = engine.head
    expected = read(engine, head=head)
    store(engine, a_candidate("/a"))
    stage(engine, a_candidate("/a"))

    everything = Scan(start=0, stop=99)
    assert few_lines(engine, everything, head) in (None, expected)
    one = Scan(subject="/a", recursive=False, start=0, stop=99)
    assert few_lines(engine, one, head) in (None, split_lines(expected)[0])
    assert engine.count_few(everything, head) in (None, 2)
    assert engine.count_few(one, head) in (None, 1)
    assert engine.size(everything, head, count_max=9) == len(expected)
    assert engine.size(one, head, count_max=9) == len(split_lines(expected)[0])

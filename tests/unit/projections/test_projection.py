"""Read models are a fold of their log, each event once, whatever handlers and runners do."""

import math
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from everlog.library.values import Event
from everlog.projections import (
    AlreadyRunningError,
    ForeignLogError,
    HandlerFailedError,
    OutdatedModelError,
    Projection,
    ProjectionError,
    databases,
    progress_bar,
)
from tests.support.event_list import EventList
from tests.support.postgresql_server import PostgresqlServer, running_postgresql
from tests.support.server import wait_until

BORROWED = "com.example.book-borrowed"
RETURNED = "com.example.book-returned"

Connect = Callable[[], Any]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with running_postgresql(fsync="off") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Return what connects to an empty database, with rows as an application may want them."""
    if request.param == "sqlite":
        return lambda: sqlite3.connect(tmp_path / "model.db")
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = f"model_{abs(hash(tmp_path))}"
    server.execute(f"CREATE DATABASE {name}")
    url = server.url_of_database(name)
    return lambda: psycopg.connect(url, row_factory=psycopg.rows.dict_row)


def loans(*, version: int = 1, subject: str = "/", name: str = "loans") -> Projection:
    """Return a projection whose model shows whatever was applied twice, or not at all."""
    projection = Projection(name, version=version, subject=subject)

    @projection.reset
    def reset(connection: Any) -> None:
        connection.execute("DROP TABLE IF EXISTS applied")
        connection.execute("CREATE TABLE applied (event_id TEXT)")

    @projection.on(BORROWED, RETURNED)
    def apply(connection: Any, event: Event) -> None:
        connection.execute(f"INSERT INTO applied VALUES ('{event.id}')")

    return projection


def applied(connect: Connect) -> list[str]:
    with closing(connect()) as connection:
        rows = connection.execute("SELECT event_id FROM applied").fetchall()
        return [row["event_id"] if isinstance(row, dict) else row[0] for row in rows]


def store_of(count: int, type_: str = BORROWED, *, subject: str = "/books/42") -> EventList:
    store = EventList()
    store.add(*[(subject, type_, {"number": number}) for number in range(count)])
    return store


def ids(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_what_is_stored_is_applied_once_and_in_order(connect: Connect) -> None:
    store = store_of(3)

    assert loans().catch_up(store, connect) == 3
    assert loans().catch_up(store, connect) == 0
    store.add(("/books/23", RETURNED, {}), ("/books/23", "com.example.book-lost", {}))
    assert loans().catch_up(store, connect) == 2

    assert applied(connect) == ids(4)
    assert loans().position(connect) == "4"


def test_a_position_is_none_before_the_first_event(connect: Connect) -> None:
    assert loans().position(connect) is None
    assert loans().catch_up(EventList(), connect) == 0
    assert loans().position(connect) is None


def test_a_batch_is_one_transaction(connect: Connect) -> None:
    store, projection = store_of(2500), loans()
    positions = []

    def note(id_: int, last_id: int) -> None:
        positions.append((id_, last_id, projection.position(connect)))

    projection.catch_up(store, connect, progress=note)

    # A thousand events at most.
    assert positions == [(999, 2499, "999"), (1999, 2499, "1999"), (2499, 2499, "2499")]
    assert applied(connect) == ids(2500)


def test_large_events_fill_a_batch_by_their_bytes(connect: Connect) -> None:
    store = EventList()
    store.add(*[("/books/42", BORROWED, {"text": "x" * 1024 * 1024})] * 9)
    positions: list[int] = []

    loans().catch_up(store, connect, progress=lambda id_, _: positions.append(id_))

    assert positions == [3, 7, 8]


def test_events_of_other_subjects_are_passed_over(connect: Connect) -> None:
    store = store_of(2, subject="/books/42")
    store.add(
        ("/readers/7", BORROWED, {}), ("/books", BORROWED, {}), ("/booksellers", BORROWED, {})
    )

    loans(subject="/books").catch_up(store, connect)

    assert applied(connect) == ["0", "1", "3"]
    assert loans(subject="/books").catch_up(store, connect) == 0


def test_a_handler_that_fails_leaves_nothing_of_its_batch(connect: Connect) -> None:
    store, projection = store_of(3), Projection("loans")

    @projection.reset
    def reset(connection: Any) -> None:
        connection.execute("CREATE TABLE applied (event_id TEXT)")

    @projection.on(BORROWED)
    def apply(connection: Any, event: Event) -> None:
        connection.execute(f"INSERT INTO applied VALUES ('{event.id}')")
        if event.id == "1":
            raise ValueError("the reader's name is a secret")

    with pytest.raises(HandlerFailedError, match=r"event 1 \(.*borrowed\): ValueError$") as failed:
        projection.catch_up(store, connect)

    assert (failed.value.event_id, failed.value.event_type) == ("1", BORROWED)
    assert isinstance(failed.value.__cause__, ValueError)
    assert applied(connect) == []
    assert projection.position(connect) is None


def commits(connection: Any, _event: object) -> None:
    connection.commit()


def rolls_back(connection: Any, _event: object) -> None:
    connection.rollback()


def uses_it_as_a_block(connection: Any, _event: object) -> None:
    with connection:
        connection.execute("INSERT INTO applied VALUES ('0')")


def hides_that_it_commits(connection: Any, _event: object) -> None:
    try:
        connection.commit()
    except (sqlite3.Error, psycopg.Error):
        connection.execute("INSERT INTO applied VALUES ('0')")
        # What psycopg refuses has no effect, what sqlite3 refuses neither.
        raise


@pytest.mark.parametrize(
    "handler", [commits, rolls_back, uses_it_as_a_block, hides_that_it_commits]
)
def test_a_handler_cannot_end_the_transaction(connect: Connect, handler: Any) -> None:
    projection = Projection("loans")

    @projection.reset
    def reset(connection: Any) -> None:
        connection.execute("CREATE TABLE applied (event_id TEXT)")

    projection.on(BORROWED)(handler)
    with pytest.raises(HandlerFailedError):
        projection.catch_up(store_of(1), connect)

    assert applied(connect) == []
    assert projection.position(connect) is None


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "END", "CREATE TABLE a (b); COMMIT"])
def test_in_sqlite_no_statement_ends_the_transaction(tmp_path: Path, statement: str) -> None:
    projection = loans()

    @projection.on("com.example.book-lost")
    def lost(connection: sqlite3.Connection, _event: Event) -> None:
        try:
            connection.executescript(statement)
        except sqlite3.DatabaseError:
            connection.execute("INSERT INTO applied VALUES ('never')")

    store = store_of(1)
    store.add(("/books/42", "com.example.book-lost", {}))
    with pytest.raises(HandlerFailedError, match="use execute") as failed:
        projection.catch_up(store, lambda: sqlite3.connect(tmp_path / "model.db"))

    assert failed.value.event_id == "1"
    assert applied(lambda: sqlite3.connect(tmp_path / "model.db")) == []


def test_a_script_in_a_reset_is_refused_with_what_to_do(tmp_path: Path) -> None:
    projection = Projection("loans")

    @projection.reset
    def reset(connection: sqlite3.Connection) -> None:
        connection.executescript("CREATE TABLE applied (event_id TEXT);")

    with pytest.raises(ProjectionError, match="use execute"):
        projection.catch_up(store_of(1), lambda: sqlite3.connect(tmp_path / "model.db"))


def test_another_version_is_refused_until_the_model_is_rebuilt(connect: Connect) -> None:
    store = store_of(3)
    loans(version=1).catch_up(store, connect)

    with pytest.raises(OutdatedModelError, match=r"version 1 .* this is version 2"):
        loans(version=2).catch_up(store, connect)
    assert loans(version=2).rebuild(store, connect) == 3
    with pytest.raises(OutdatedModelError):
        loans(version=1).catch_up(store, connect)

    assert applied(connect) == ids(3)


def test_a_rebuild_that_is_interrupted_is_gone_on_with(connect: Connect) -> None:
    store, projection = store_of(2500), loans()
    projection.catch_up(store, connect)

    def interrupt(id_: int, _: int) -> None:
        if id_ == 1999:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        projection.rebuild(store, connect, progress=interrupt)
    assert applied(connect) == ids(2000)

    assert projection.catch_up(store, connect) == 500
    assert applied(connect) == ids(2500)


@pytest.mark.parametrize(
    "other", [store_of(0), store_of(2), store_of(3, RETURNED)], ids=["empty", "shorter", "other"]
)
def test_a_model_of_another_log_is_refused(connect: Connect, other: EventList) -> None:
    loans().catch_up(store_of(3), connect)

    with pytest.raises(ForeignLogError, match="made of another log"):
        loans().catch_up(other, connect)

    assert applied(connect) == ids(3)
    loans().rebuild(other, connect)
    assert applied(connect) == ids(len(other.events))


def test_a_log_that_changes_while_it_is_followed_is_refused(connect: Connect) -> None:
    store = store_of(3)
    loans().catch_up(store, connect)
    other = store_of(4, RETURNED)
    # The last event that was applied is there, and the next one does not follow it.
    store.events.append(other.events[3])

    with pytest.raises(ForeignLogError, match="event 3 does not follow"):
        loans().run(store, connect)

    assert applied(connect) == ids(3)


def test_two_models_in_one_database_know_nothing_of_each_other(connect: Connect) -> None:
    store, readers = store_of(3), Projection("readers")

    @readers.reset
    def reset(connection: Any) -> None:
        connection.execute("CREATE TABLE reader (id TEXT)")

    loans().catch_up(store, connect)
    readers.catch_up(store_of(2, RETURNED), connect)

    assert (loans().position(connect), readers.position(connect)) == ("2", "1")


class Running:
    """A projection that is run by a thread."""

    def __init__(self, projection: Projection, store: EventList, connect: Connect) -> None:
        self.stop = threading.Event()
        self.errors: list[Exception] = []
        self._arguments = (projection, store, connect)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        projection, store, connect = self._arguments
        try:
            projection.run(store, connect, stop=self.stop)
        except Exception as error:  # noqa: BLE001 - a test looks at it.
            self.errors.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()


def test_events_are_applied_as_they_come_until_it_is_stopped(connect: Connect) -> None:
    store, projection = store_of(3), loans()

    with Running(projection, store, connect) as running:
        for number in range(3, 20):
            store.add(("/books/42", BORROWED, {}))
            wait_until(lambda wanted=str(number): projection.position(connect) == wanted)
    store.add(("/books/42", BORROWED, {}))

    assert running.errors == []
    assert applied(connect) == ids(20)


def test_what_the_store_raises_ends_the_run(connect: Connect) -> None:
    store = store_of(1)
    with Running(loans(), store, connect) as running:
        wait_until(lambda: loans().position(connect) == "0")
        store.fail(OSError("gone"))
        wait_until(lambda: bool(running.errors))

    assert str(running.errors[0]) == "gone"


def test_there_is_one_runner_of_a_model(connect: Connect) -> None:
    store = store_of(3)
    with Running(loans(), store, connect) as running:
        wait_until(lambda: loans().position(connect) == "2")
        for attempt in (loans().catch_up, loans().run, loans().rebuild):
            with pytest.raises(AlreadyRunningError, match="one at a time"):
                attempt(store, connect, wait_seconds=0)
        running.stop.set()
        # Waits until the other one has ended.
        loans().catch_up(store, connect, wait_seconds=60)

    assert applied(connect) == ids(3)


def test_who_stands_by_can_be_stopped(connect: Connect) -> None:
    store = store_of(3)
    with Running(loans(), store, connect):
        wait_until(lambda: loans().position(connect) == "2")
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()

        loans().run(store, connect, stop=stop, wait_seconds=math.inf)


def test_catching_up_can_be_stopped(connect: Connect) -> None:
    stop = threading.Event()

    loans().run(store_of(2500), connect, stop=stop, progress=lambda *_: stop.set())

    assert applied(connect) == ids(1000)


def test_of_two_runners_without_a_lock_one_comes_through(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everlog.projections.databases._wait_for", lambda *_: None)
    store, first, second = store_of(3), loans(), loans()
    seen = threading.Event()

    @first.on("com.example.book-lost")
    def interfere(_connection: object, _event: object) -> None:
        raise AssertionError("the other runner has applied it")

    @second.on("com.example.book-lost")
    def note(_connection: object, _event: object) -> None:
        seen.set()

    def add(*_: int) -> None:
        # The first one has begun, and the second one overtakes it.
        store.add(("/books/42", "com.example.book-lost", {}))
        assert second.catch_up(store, connect) == 1

    with pytest.raises(ProjectionError, match="not where this runner left it"):
        first.run(store, connect, progress=add)

    assert seen.is_set()
    assert applied(connect) == ids(3)
    assert loans().position(connect) == "3"


def test_a_connection_of_the_users_stays_open_and_as_it_was(connect: Connect) -> None:
    with closing(connect()) as connection:
        before = getattr(connection, "isolation_level", None), getattr(connection, "autocommit", 0)

        loans().catch_up(store_of(3), connection)

        after = getattr(connection, "isolation_level", None), getattr(connection, "autocommit", 0)
        assert before == after
        connection.execute("DELETE FROM applied")
        connection.rollback()
        assert len(connection.execute("SELECT * FROM applied").fetchall()) == 3


def test_a_model_in_memory_needs_no_lock() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        loans().catch_up(store_of(3), connection)

        assert connection.execute("SELECT count(*) FROM applied").fetchone() == (3,)
        assert loans().position(connection) == "2"


def test_a_connection_in_the_middle_of_a_transaction_is_refused(connect: Connect) -> None:
    loans().catch_up(store_of(3), connect)
    with closing(connect()) as connection:
        connection.execute("DELETE FROM applied")
        with pytest.raises(ProjectionError, match="middle of a transaction"):
            loans().catch_up(store_of(3), connection)
        connection.rollback()


def test_what_is_no_connection_is_told() -> None:
    with pytest.raises(TypeError, match=r"sqlite3 or of psycopg .*, not by str"):
        loans().catch_up(EventList(), "model.db")  # type: ignore[arg-type] # what is tested


@pytest.mark.parametrize("name", ["", "Loans", "a/b", "-a", "a-", "a" * 64, "\u00e4"])
def test_a_name_that_is_no_name_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a read model"):
        Projection(name)


def test_a_version_is_a_positive_number() -> None:
    with pytest.raises(ValueError, match="from 1 to 2147483647, not 0"):
        Projection("loans", version=0)


def test_a_type_has_one_handler() -> None:
    with pytest.raises(ValueError, match=r"has a handler for .*book-returned already"):
        loans().on(RETURNED, "com.example.book-lost")
    with pytest.raises(ValueError, match="is told no type"):
        loans().on()
    with pytest.raises(ValueError, match="has a reset already"):
        loans().reset(print)


def test_a_projection_without_a_reset_is_told() -> None:
    with pytest.raises(ProjectionError, match="has no reset"):
        Projection("loans").catch_up(EventList(), lambda: sqlite3.connect(":memory:"))


def test_the_progress_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Terminal:
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            shown.append(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr("sys.stderr", Terminal())
    with progress_bar("loans") as progress:
        loans().catch_up(store_of(2500), lambda: sqlite3.connect(":memory:"), progress=progress)

    assert "loans" in shown[0] or "loans" in "".join(shown)
    assert "2500/2500" in "".join(shown)


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        loans().catch_up(store_of(1), lambda: sqlite3.connect(":memory:"), progress=progress)

    assert capsys.readouterr() == ("", "")


def test_a_driver_is_imported_by_its_users_only() -> None:
    program = (
        "import sys, everlog.projections; print(sorted({'psycopg', 'numpy'} & {*sys.modules}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )

    assert done.stdout == "[]\n"


def test_in_postgresql_a_role_needs_no_right_to_create_tables_beforehand(
    postgresql: PostgresqlServer,
) -> None:
    table = databases._TABLE
    postgresql.execute("CREATE DATABASE rights")
    postgresql.execute(
        *("CREATE ROLE library LOGIN PASSWORD 'a'", "CREATE TABLE applied (event_id TEXT)", table),
        "GRANT SELECT, INSERT, UPDATE ON everlog_projections TO library",
        "GRANT INSERT ON applied TO library",
        database="rights",
    )
    url = postgresql.url_of("library", "a").replace("/postgres", "/rights")
    projection = loans()
    projection._reset = lambda _: None

    assert projection.catch_up(store_of(3), lambda: psycopg.connect(url)) == 3


def test_a_position_can_be_read_in_the_middle_of_a_transaction(connect: Connect) -> None:
    loans().catch_up(store_of(3), connect)
    with closing(connect()) as connection:
        connection.execute("DELETE FROM applied")

        assert loans().position(connection) == "2"
        connection.rollback()

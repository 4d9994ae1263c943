"""Which session is whose: the one place that knows all of them, and imports only the one needed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.sessions.session import Session

# Where to find what makes a session of an address.
CLIENTS = {
    "everlog": "benchmarks.sessions.everlog:EverlogSession",
    "umadb": "benchmarks.sessions.umadb:UmaDBSession",
    "postgres": "benchmarks.sessions.postgres:PostgresSession",
    "postgres-recorder": "benchmarks.sessions.recorder:open_postgres",
    "sqlite-recorder": "benchmarks.sessions.recorder:open_sqlite",
    "nats": "benchmarks.sessions.nats:NatsSession",
}


def open_session(name: str, address: str) -> Session:
    """Connect to a store."""
    session: Session = _opener(name)(address)
    return session


def create(name: str, address: str) -> None:
    """Make what an empty store needs, where it needs something."""
    session: Any = _opener(name)(address)
    session.create()
    session.close()


def fill(name: str, address: str, event_count: int) -> None:
    """Write the events of a filled log, in whatever way is fastest."""
    session: Any = _opener(name)(address)
    session.fill(event_count)
    session.close()


def _opener(name: str) -> Callable[[str], Any]:
    module, _, attribute = CLIENTS[name].partition(":")
    opener: Callable[[str], Any] = getattr(import_module(module), attribute)
    return opener

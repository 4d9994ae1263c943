"""The store: what every use case works with, tied together once by the composition root."""

from dataclasses import dataclass

from everlog.service.observers import Observers
from everlog.service.queries import Queries
from everlog.service.reader import Reader
from everlog.service.writer import Writer
from everlog.storage.engine import Engine


@dataclass(frozen=True, slots=True)
class Store:
    """An engine, its single writer, those who read it, wait for it, and ask it."""

    engine: Engine
    writer: Writer
    reader: Reader
    observers: Observers
    queries: Queries

"""Corpora in engines: the same events, found through real indexes, or in files alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from everlog.cli.directory import DirectoryLog
from everlog.domain.event import AcceptedEvent
from everlog.domain.time import parse_time
from everlog.eventql.planning.plan import Log
from everlog.service.querying.log import HeadLog
from everlog.storage.engine import Engine
from everlog.storage.log import ReadOnlyLog
from tests.support.engines import open_log
from tests.support.eventql.corpora import Corpus
from tests.support.events import a_schema, store_staged
from tests.support.memory_engine import MemoryEngine

# Events of one write; several, so that lines have all kinds of ends.
WRITE_LENGTH = 2


@contextmanager
def in_memory(corpus: Corpus, directory: Path) -> Iterator[Log]:
    """Hold a corpus in the reference engine."""
    assert directory.is_dir()
    engine = MemoryEngine()
    store(corpus, engine)
    yield HeadLog(engine, engine.head)


@contextmanager
def on_disk(corpus: Corpus, directory: Path) -> Iterator[Log]:
    """Hold a corpus in the embedded engine."""
    with closing(open_log(directory)) as engine:
        store(corpus, engine)
        yield HeadLog(engine, engine.head)


@contextmanager
def in_files(corpus: Corpus, directory: Path) -> Iterator[Log]:
    """Hold a corpus in a data directory that no server has open."""
    with closing(open_log(directory)) as engine:
        store(corpus, engine)
    with ReadOnlyLog.open(directory) as reader:
        yield DirectoryLog(reader, reader.head, lambda _: None)


Store = Callable[[Corpus, Path], AbstractContextManager[Log]]

STORES: dict[str, Store] = {"memory": in_memory, "disk": on_disk, "files": in_files}


def store(corpus: Corpus, engine: Engine) -> None:
    """Write all events of a corpus."""
    for event_type in corpus.schema_types:
        engine.stage_schema(a_schema(event_type))
        store_staged(engine)
    pairs = [*zip(corpus.lines, corpus.events, strict=True)]
    for start in range(0, len(pairs), WRITE_LENGTH):
        write = pairs[start : start + WRITE_LENGTH]
        events = [
            AcceptedEvent(event["subject"], event["type"], payload_of(line), event["hash"])
            for line, event in write
        ]
        engine.stage(events, time=parse_time(write[-1][1]["time"]))
        store_staged(engine)


def payload_of(line: bytes) -> bytes:
    """Return the JSON of a line's event."""
    return line.strip().removeprefix(b'{"type":"event","payload":')[:-1]

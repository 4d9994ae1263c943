"""Write the data directories that later versions must be able to read for ever.

    .venv/bin/python -m tests.formats.write_fixture DIRECTORY

makes `DIRECTORY/with-index` and `DIRECTORY/without-index`. What is committed was written by the
version whose format it shows; to run this again is needed for a new format version only.
"""

import shutil
import sys
from pathlib import Path

from everlog.domain.chain import HashVersion
from everlog.domain.event import EventCandidate
from everlog.storage.log import LogEngine, columns
from tests.support.events import TRACEPARENT, a_schema, accept_at, store_staged

# 2024-05-01, and from there one second and a bit for each write.
FIRST_TIME = 1_714_521_600_000_000_500
TIME_STEP = 1_000_000_250

SEGMENT_SIZE = 8_192

DATA = (
    "{}",
    '{"title":"2001 - A Space Odyssey","isbn":"978-0756906788"}',
    '{"text":"\u00e9\\u00e9 \\"\\\\\\/ \U0001f4da","number":1.50e+02,"big":12345678901234567890}',
    '{"nested":{"list":[1,2.0,-0,true,false,null,[],{}]},"b":1,"a":2}',
)
SUBJECTS = ("/", "/books/42", "/books/42/pages/1", "/books", "/readers/jane-doe_1", "/books-old")
TYPES = ("io.everlog.acquired", "io.everlog.borrowed", "io.everlog.returned.v2")
SCHEMAS = (
    a_schema(TYPES[0]),
    a_schema("io.everlog.never-written", '{"type":"object","properties":{"a":{"type":"null"}}}'),
)


def candidate(number: int) -> EventCandidate:
    traceparent = TRACEPARENT if number % 4 == 3 else None
    return EventCandidate(
        source=("https://library.example/ui", "urn:everlog:test")[number % 2],
        subject=SUBJECTS[number % len(SUBJECTS)],
        type=TYPES[number % len(TYPES)],
        data=DATA[number % len(DATA)],
        traceparent=traceparent,
        tracestate='vendor="quoted\\\\",other=1' if number % 8 == 7 else None,
    )


def write(directory: Path) -> None:
    """Write 32 events: writes of one to three, every third batch of two writes."""
    engine = LogEngine.open(directory, segment_size_max=SEGMENT_SIZE)
    engine.stage_schema(SCHEMAS[0])
    written = 0
    while written < 32:
        batch_number = engine.head.event_count
        for size in (1 + written % 3, 1)[: 1 + (batch_number % 3 == 0)]:
            tip = engine.tip
            time = max(FIRST_TIME, tip.time + TIME_STEP)
            candidates = [candidate(written + index) for index in range(size)]
            version = HashVersion.V1 if written % 5 == 0 else HashVersion.V2
            engine.stage(accept_at(tip, candidates, time=time, hash_version=version), time=time)
            written += size
        store_staged(engine)
    engine.stage_schema(SCHEMAS[1])
    store_staged(engine)
    engine.close()
    # Which process it was is of no interest.
    (directory / "lock").unlink()


def main(directory: Path) -> None:
    # The first allocation of a server is larger than all of this.
    columns._CAPACITY_MIN = 64  # type: ignore[misc] # Final, but not for a fixture
    write(directory / "with-index")
    shutil.copytree(directory / "with-index", directory / "without-index")
    shutil.rmtree(directory / "without-index" / "index")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

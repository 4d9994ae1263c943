"""A log to ask questions of: ten types of events, ten for each subject, about 530 bytes each.

What matters to a question is drawn by chance, always the same: of the types each is as frequent,
half of the events have more than 500 pages, and a quarter is in German.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.events import EVENTS_PER_SUBJECT, LIBRARIES, SOURCE
from benchmarks.fill import write_log
from everlog.domain.event import EventCandidate

TYPES = tuple(
    f"com.example.library.{name}"
    for name in (
        *("book-acquired", "book-borrowed", "book-returned", "book-reserved", "book-lost"),
        *("book-found", "book-repaired", "book-moved", "book-sold", "book-retired"),
    )
)

_GENRES = ("art", "crime", "drama", "fantasy", "history", "poetry", "science", "travel")
_LANGUAGES = ("de", "en", "es", "fr")
_PAGES_MAX = 1_000
_SEED = 1


def fill_query_log(directory: Path, event_count: int) -> None:
    """Write so many events into a new data directory, and close it cleanly."""
    write_log(directory, _candidates(event_count))


def subject_of(position: int, *, event_count: int) -> str:
    """Return the subject of an event."""
    number = position % max(event_count // EVENTS_PER_SUBJECT, 1)
    return f"/libraries/{number % LIBRARIES}/books/{number}"


def _candidates(event_count: int) -> Iterator[EventCandidate]:
    chance = random.Random(_SEED).random
    for position in range(event_count):
        data = (
            f'{{"title":"Book number {position}",'
            f'"genre":"{_GENRES[int(chance() * len(_GENRES))]}",'
            f'"price":{5 + int(chance() * 9_500) / 100:.2f},'
            f'"pages":{1 + int(chance() * _PAGES_MAX)},'
            f'"meta":{{"lang":"{_LANGUAGES[int(chance() * len(_LANGUAGES))]}"}}}}'
        )
        event_type = TYPES[int(chance() * len(TYPES))]
        yield EventCandidate(
            SOURCE, subject_of(position, event_count=event_count), event_type, data
        )

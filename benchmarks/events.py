"""The events that are written and read: about 350 bytes as a candidate, 650 as stored.

A filled log holds ten events for each subject, spread over the whole log, which is the worst case
for reading one; its last twentieth is a tree of its own, `/archive`, which is the worst case for
the first event of a recursive read.
Needs nothing but Python, so that clients in another environment use the very same ones.
"""

SOURCE = "https://library.example.com"
TYPE = "com.example.library.book-acquired"

EVENTS_PER_SUBJECT = 10
LIBRARIES = 100
_ARCHIVE_SHARE = 20

_NOTE = "second edition, cloth, with the map of the reading room and a handwritten dedication"


def data_of(number: int) -> str:
    """Return the data of an event as minified JSON."""
    return (
        f'{{"title":"2001 - A Space Odyssey","author":"Arthur C. Clarke","number":{number},'
        f'"isbn":"978-0756906788","price":12.50,"note":"{_NOTE}"}}'
    )


def subject_of(position: int, *, event_count: int) -> str:
    """Return the subject of an event of a filled log."""
    main_count = event_count - event_count // _ARCHIVE_SHARE
    if position < main_count:
        number = position % max(main_count // EVENTS_PER_SUBJECT, 1)
        return f"/libraries/{number % LIBRARIES}/books/{number}"
    archive_count = event_count - main_count
    return f"/archive/{position % max(archive_count // EVENTS_PER_SUBJECT, 1)}"


def write_bodies(count: int, *, events_per_write: int, event_count: int) -> list[bytes]:
    """Return bodies for write-events, their subjects spread over those of a filled log."""
    step = max(event_count // max(count * events_per_write, 1), 1)
    bodies = []
    for first in range(0, count * events_per_write, events_per_write):
        events = ",".join(
            _candidate_text(
                number, subject_of(number * step % event_count, event_count=event_count)
            )
            for number in range(first, first + events_per_write)
        )
        bodies.append(f'{{"events":[{events}]}}'.encode())
    return bodies


def _candidate_text(number: int, subject: str) -> str:
    return f'{{"source":"{SOURCE}","subject":"{subject}","type":"{TYPE}","data":{data_of(number)}}}'

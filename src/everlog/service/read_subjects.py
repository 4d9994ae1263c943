"""Read subjects: those that exist, which is to say that they or one below them have events."""

from collections.abc import AsyncIterator, Sequence

from everlog.service.store import Store


def read_subjects(store: Store, base_subject: str) -> AsyncIterator[Sequence[str]]:
    """Yield chunks of a subject and all below it, depth first; nothing if it does not exist."""
    head = store.engine.head
    return store.reader.fetch_chunks(store.engine.subjects(base_subject, head))


def subject_exists(store: Store, subject: str) -> bool:
    """Tell whether a subject exists."""
    return store.engine.subject_exists(subject, store.engine.head)

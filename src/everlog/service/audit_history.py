"""Audit the history: whether no event was changed, taken out or put in, since the last audit too.

Events prove each other: each carries the hash of the one before. Whoever rewrites all that follow
can make them fit; whoever keeps the id and the hash of an event from each audit notices that, too.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from everlog.domain.errors import Code, StateConflictError
from everlog.domain.known_event import KnownEvent
from everlog.service.auditing_messages import Audited, Broken, Mismatched
from everlog.service.permits import Permit
from everlog.service.store import Store


def check_is_known(store: Store, last_audited: KnownEvent) -> None:
    """Check that there is such an event, whatever it is.

    Raises:
        StateConflictError: There is none.
    """
    count = store.engine.head.event_count
    event_id = str(last_audited.position)
    if last_audited.position >= count:
        there_is = f"the last event is {count - 1}" if count > 0 else "there are no events"
        message = f"the last audited event {event_id} is unknown: {there_is}"
        raise StateConflictError(Code.LAST_AUDITED_EVENT_UNKNOWN, message, value=event_id)


async def audit_history(
    store: Store, last_audited: KnownEvent | None, *, permit: Permit
) -> AsyncGenerator[Audited | None, None]:
    """Yield the last event that is proven now, and a None each second before.

    The permit was acquired before, so that a request can still be refused; here it is released.

    Raises:
        StateConflictError: The chain is broken, or the last audited event has another hash.
        RefusedError: It did not come to its end, or the server is going down.
    """
    with permit:
        async with aclosing(store.audits.audit_history(last_audited)) as told:
            async for each in told:
                match each:
                    case Broken(event_id=event_id, text=text):
                        event = {} if event_id is None else {"eventId": str(event_id)}
                        message = f"the event chain is broken: {text}"
                        raise StateConflictError(Code.EVENT_CHAIN_BROKEN, message, **event)
                    case Mismatched(hash=hash_):
                        assert last_audited is not None
                        raise _mismatched(last_audited, hash_)
                    case _:
                        yield each


def _mismatched(last_audited: KnownEvent, hash_: str) -> StateConflictError:
    event_id = str(last_audited.position)
    return StateConflictError(
        Code.LAST_AUDITED_EVENT_MISMATCHED,
        f"the last audited event {event_id} has another hash than the one given: {hash_}",
        eventId=event_id,
        value=last_audited.hash,
    )

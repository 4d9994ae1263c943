"""The endpoints of audits, in the look of either version.

An audit takes seconds for a million events, and longer where others need the processors. Whoever
waits for it is told each second that it goes on, where its answer has a form for that; whoever goes
away ends it.
"""

from contextlib import aclosing
from typing import Final

from everlog.api.look import Look
from everlog.api.services import Services
from everlog.domain.errors import RefusedError
from everlog.domain.known_event import KnownEvent
from everlog.http import Exchange, Request, Response, Stream
from everlog.service.audit_history import audit_history as audit
from everlog.service.audit_history import check_is_known
from everlog.service.permits import Permit
from everlog.service.verify_store import Verification
from everlog.service.verify_store import verify_store as verify


class AuditEndpoints:
    """The endpoints of audits, in one look."""

    def __init__(self, look: Look) -> None:
        self._look: Final = look

    def verify_store(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Verify all events, event schemas and indexes."""
        look = self._look
        if request.body.strip():
            look.bodies.nothing(request.body)
        permit = _acquire(services, exchange)

        async def produce(stream: Stream) -> None:
            found = Verification([], [])
            verifying = verify(services.store, found, permit=permit)
            failure: RefusedError | None = None
            try:
                async with aclosing(verifying) as seconds:
                    async for _ in seconds:
                        stream.send_nowait(look.verification.heartbeat)
            except RefusedError as error:
                services.count_refusal(error)
                failure = error
            await stream.send(look.verification.render(found, failure))

        exchange.stream(200, look.verification.content_type, produce)

    def audit_history(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Verify the chain of all events, from the last audited event on and before it."""
        look, body = self._look, request.body
        last_audited = look.bodies.audit_history(body) if body.strip() else None
        if last_audited is not None:
            check_is_known(services.store, last_audited)
        permit = _acquire(services, exchange)
        answer = look.audit
        if answer.heartbeat:

            async def produce(stream: Stream) -> None:
                await _stream_audit(look, services, last_audited, permit, stream)

            exchange.stream(200, answer.content_type, produce)
        else:
            work = _answer_audit(look, services, last_audited, permit, exchange)
            services.tasks.start_for(exchange, work)


def _acquire(services: Services, exchange: Exchange) -> Permit:
    permit = services.store.audits.permits.acquire()
    # It may be released before it is its answer's turn.
    exchange.on_disconnect(permit.release)
    return permit


async def _stream_audit(
    look: Look,
    services: Services,
    last_audited: KnownEvent | None,
    permit: Permit,
    stream: Stream,
) -> None:
    """Send what there is to say, and heartbeats before."""
    end = b""
    try:
        async with aclosing(audit(services.store, last_audited, permit=permit)) as told:
            async for each in told:
                if each is None:
                    stream.send_nowait(look.audit.heartbeat)
                else:
                    end = look.audit.render(each)
    except RefusedError as error:
        services.count_refusal(error)
        end = look.error(error)
    await stream.send(end)


async def _answer_audit(
    look: Look,
    services: Services,
    last_audited: KnownEvent | None,
    permit: Permit,
    exchange: Exchange,
) -> None:
    """Answer when it is known with which status."""
    body = b""
    try:
        async with aclosing(audit(services.store, last_audited, permit=permit)) as told:
            async for each in told:
                if each is not None:
                    body = look.audit.render(each)
    except RefusedError as error:
        look.refuse(services, exchange, error)
    else:
        exchange.respond(Response(200, body, look.audit.content_type))

"""The endpoint that shows subjects level by level, as whoever explores a store opens them.

Only version 2 has it. Its answer is one JSON document of bounded size, as those about the tree are
(`proof_endpoints`): a level of a million siblings is read page by page.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from everlog.api.answers import JSON
from everlog.api.bodies import read_strictly
from everlog.api.look import Look
from everlog.api.requests.v2 import ChildOptions, ReadChildSubjects
from everlog.api.services import Services
from everlog.domain.errors import RefusedError
from everlog.domain.limits import CHILD_SUBJECTS_MAX
from everlog.domain.subject import parse_subject
from everlog.http import Exchange, Request, Response
from everlog.service.discovery import read_child_subjects
from everlog.storage.engine import SubjectCounts

_decoder: Final = msgspec.json.Decoder(ReadChildSubjects)

_NO_OPTIONS: Final = ChildOptions()


class SubjectEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A subject, with how much there is on it, below it, and directly below it."""

    subject: str
    event_count: int
    recursive_event_count: int
    child_count: int


class ChildSubjectsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of read-child-subjects: the subject itself, and a page of its children."""

    subject: str
    event_count: int
    recursive_event_count: int
    child_count: int
    match_count: int
    children: Sequence[SubjectEntry]


class SubjectEndpoints:
    """The one about subjects that version 1 does not have, in one look."""

    def __init__(self, look: Look) -> None:
        self._look: Final = look

    def read_child_subjects(self, services: Services, request: Request, exchange: Exchange) -> None:
        """List some of the subjects directly below one, with counts."""
        look = self._look
        body = read_strictly(_decoder, request.body)
        subject = parse_subject(body.subject or None)
        options = body.options or _NO_OPTIONS
        limit = options.limit if isinstance(options.limit, int) else CHILD_SUBJECTS_MAX

        async def work() -> None:
            try:
                found = await read_child_subjects(
                    services.store,
                    subject,
                    prefix=options.prefix or "",
                    offset=options.offset or 0,
                    limit=limit,
                )
            except RefusedError as error:
                # It may be its answer's turn while a backup is restored.
                look.refuse(services, exchange, error)
                return
            answer = ChildSubjectsAnswer(
                *found.parent, found.match_count, list(map(_entry, found.children))
            )
            exchange.respond(Response(200, msgspec.json.encode(answer) + b"\n", JSON))

        services.tasks.start_for(exchange, work())


def _entry(counts: SubjectCounts) -> SubjectEntry:
    return SubjectEntry(*counts)

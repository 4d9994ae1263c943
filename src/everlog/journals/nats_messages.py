"""What is in messages of a stream, and in answers of its servers.

An entry's message has headers that say where it stands and where its events end, so that neither a
gap nor a position needs what it holds.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from everlog.service.mirroring.journal import (
    Announced,
    Announcement,
    PlacedEntry,
    UnknownEntryFormatError,
    decode_entry,
)

# Headers of an entry's message: the place before it, and how many events there are with it.
AFTER: Final = "Everlog-After"
END: Final = "Everlog-End"

# Whoever decodes entries takes a break after so many bytes, and so many entries.
_BREAK_SIZE: Final = 1024 * 1024
_BREAK_COUNT: Final = 200
# What is larger is decoded, and so copied, in a thread.
_LARGE_SIZE: Final = 4 * 1024 * 1024

# Of entries on their way, so many are kept, and so many bytes of them.
_HEARD_COUNT_MAX: Final = 64
_HEARD_SIZE_MAX: Final = 4 * 1024 * 1024

# What a node said is news for so long.
_ANNOUNCED_SECONDS: Final = 60.0


def code_of(told: Mapping[str, Any]) -> int | None:
    """Return the number of the reason why a request failed, None if it did not."""
    error = told.get("error")
    return int(error.get("err_code", 0)) if isinstance(error, dict) else None


def error_of(told: Mapping[str, Any]) -> str:
    """Return why a request failed, in the servers' words; empty if it did not."""
    error = told.get("error")
    if isinstance(error, dict):
        return str(error.get("description") or "no reason is given")
    return "" if told else "its answer is not understood"


# What is in a message that a replica returned.


def subject_of(message: Msg) -> str:
    """Return the subject on which a message was stored; empty of one that only has a status."""
    return str((message.headers or {}).get("Nats-Subject", ""))


def number_of(message: Msg) -> int:
    """Return a message's number in the stream, 0 of one that only has a status."""
    headers = message.headers or {}
    return 0 if "Status" in headers else int(headers.get("Nats-Sequence", 0))


def place_before(message: Msg) -> int:
    """Return the place behind which an entry stands.

    Raises:
        UnknownEntryFormatError: It is no entry.
    """
    return _header(message, AFTER)


def position_of(message: Msg) -> int:
    """Return how many events there are up to an entry's end.

    Raises:
        UnknownEntryFormatError: It is no entry.
    """
    return _header(message, END)


def _header(message: Msg, name: str) -> int:
    text = (message.headers or {}).get(name, "")
    if not text.isdigit():
        raise UnknownEntryFormatError(
            f"the message {number_of(message)} of the stream is no entry of Everlog's"
        )
    return int(text)


def _nanoseconds_of(message: Msg) -> int:
    """Return when a message was stored, by the clock of the server that led the stream."""
    text = (message.headers or {}).get("Nats-Time-Stamp", "")
    whole, _, rest = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1_000_000_000 + int(rest[:9].ljust(9, "0"))


class Heard:
    """Entries that were heard on their way to the stream, and where they stand, once that is told.

    Whoever appended one tells its place when a majority has stored it; before that, nobody knows
    whether it will be. Only the latest are kept: what is not here is read from a replica.
    """

    def __init__(self) -> None:
        """Begin with none."""
        # By their batch's id, and by the place before them; the oldest first.
        self._on_their_way: Final[dict[str, Msg]] = {}
        self._placed: Final[dict[int, tuple[int, Msg]]] = {}
        self._size = 0

    def hear(self, message: Msg) -> None:
        """Keep an entry that somebody appends."""
        batch_id = (message.headers or {}).get("Nats-Msg-Id")
        if not batch_id or batch_id in self._on_their_way:
            return
        self._on_their_way[batch_id] = message
        self._size += len(message.data)
        while self._size > _HEARD_SIZE_MAX or len(self._on_their_way) > _HEARD_COUNT_MAX:
            self._forget_oldest()

    def place(self, batch_id: str, place: int) -> None:
        """Take note that a majority has stored an entry.

        Raises:
            UnknownEntryFormatError: It is none.
        """
        message = self._on_their_way.pop(batch_id, None)
        if message is None:
            return
        before = place_before(message)
        self._drop(before)
        self._placed[before] = (place, message)
        while len(self._placed) > _HEARD_COUNT_MAX:
            self._drop(next(iter(self._placed)))

    def take(self, after: int) -> list[PlacedEntry]:
        """Return those that follow a place without a gap, and keep them no longer.

        Raises:
            UnknownEntryFormatError: One is none.
        """
        entries: list[PlacedEntry] = []
        while (found := self._placed.get(after)) is not None:
            self._drop(after)
            after, message = found
            entries.append(PlacedEntry(after, decode_entry(message.data)))
        return entries

    def _forget_oldest(self) -> None:
        if self._placed:
            self._drop(next(iter(self._placed)))
        else:
            self._size -= len(self._on_their_way.pop(next(iter(self._on_their_way))).data)

    def _drop(self, before: int) -> None:
        found = self._placed.pop(before, None)
        if found is not None:
            self._size -= len(found[1].data)


async def decode(messages: Sequence[Msg], after: int) -> list[PlacedEntry]:
    """Return entries, each behind the one before it.

    Raises:
        UnknownEntryFormatError: One is none, or there is a gap.
    """
    entries: list[PlacedEntry] = []
    size = count = 0
    before = after
    for message in messages:
        named = place_before(message)
        if named != before and (entries or named > after):
            raise UnknownEntryFormatError(
                f"the entry {number_of(message)} of the stream follows the entry {named}, which "
                "is not there"
            )
        before = number_of(message)
        if len(message.data) > _LARGE_SIZE:
            entry = await asyncio.to_thread(decode_entry, message.data)
        else:
            entry = decode_entry(message.data)
        entries.append(PlacedEntry(before, entry))
        size, count = size + len(message.data), count + 1
        if size > _BREAK_SIZE or count > _BREAK_COUNT:
            size = count = 0
            await asyncio.sleep(0)
    return entries


def compare_announced(
    ours: Announcement, message: Msg, all_messages: Sequence[Msg]
) -> list[Announced]:
    """Return what others said lately, by what was stored of it, and of what we said."""
    now = _nanoseconds_of(message)
    found: list[Announced] = []
    for other in all_messages:
        if not number_of(other):
            continue
        # What another version says is not understood, and no reason to say nothing of the others.
        with suppress(msgspec.MsgspecError):
            theirs = msgspec.json.decode(other.data, type=Announcement)
            stored = _nanoseconds_of(other)
            age = (now - stored) / 1e9
            if theirs.node_id != ours.node_id and age <= _ANNOUNCED_SECONDS:
                offset = (theirs.clock - stored) - (ours.clock - now)
                found.append(Announced(theirs, offset / 1e9, max(age, 0.0)))
    return found

"""The chain of a backup: whether its events follow each other, and are what events may be.

A `Chain` takes one event after the other and returns each as it will be stored, or says what is
wrong with it. Ids, times, hashes and the bytes of `data` stay as they are. Where a backup is
chained anew, ids and predecessor hashes are given again, and hashes computed again where something
changed that they cover; each event keeps the version of its hash.
What is left to others: schemas, and where in a file an event stands (`restoring`).
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

import msgspec

from everlog.domain.chain import GENESIS_HASH, HashVersion, hash_v1, hash_v2, hash_version_of
from everlog.domain.data import parse_data
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import (
    DATACONTENTTYPE,
    SPECVERSION,
    EventCandidate,
    candidate_size,
    to_event_json,
)
from everlog.domain.event_type import parse_event_type
from everlog.domain.limits import EVENT_SIZE_MAX
from everlog.domain.source import parse_source
from everlog.domain.subject import parse_subject
from everlog.domain.time import parse_time
from everlog.domain.tracing import parse_traceparent, parse_tracestate
from everlog.transfer.backup_lines import BackedUpEvent, EventItem

# Data of so few bytes cannot make an event too large, whatever else it holds: the other values have
# limits of their own, which are a tenth of that of an event together.
_SMALL_SIZE: Final = EVENT_SIZE_MAX // 2

_match_specversion = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*").fullmatch
_match_hash = re.compile(r"(?:esdb:hash:v2:)?[0-9a-f]{64}").fullmatch

# A log has few of them, most of the time.
_parse_source = lru_cache(1024)(parse_source)
_parse_event_type = lru_cache(1024)(parse_event_type)


class Change(msgspec.Struct, frozen=True):
    """What chaining anew changed of one event."""

    old_id: str
    new_id: str
    old_hash: str
    new_hash: str


class Rechained(msgspec.Struct):
    """What chaining anew changed: how many events, and the first of each."""

    changed_id_count: int = 0
    changed_hash_count: int = 0
    first_changed_id: Change | None = None
    first_changed_hash: Change | None = None

    def note(self, change: Change) -> None:
        """Count what was changed of an event."""
        if change.new_id != change.old_id:
            self.changed_id_count += 1
            self.first_changed_id = self.first_changed_id or change
        if change.new_hash != change.old_hash:
            self.changed_hash_count += 1
            self.first_changed_hash = self.first_changed_hash or change


class TakenEvent(NamedTuple):
    """An event that follows."""

    id: str
    hash: str
    # The text that is hashed, and what it means.
    data_text: str
    data: dict[str, object]
    json: bytes


class Chain:
    """Events in their order, each checked against the one before it."""

    def __init__(
        self,
        *,
        rechain: bool = False,
        hash_version: HashVersion = HashVersion.V1,
        count: int = 0,
        hash_: str = GENESIS_HASH,
    ) -> None:
        """Begin behind so many events, the last of which has a hash.

        The version is for events without a hash, when chaining anew.
        """
        self.count = count
        self.hash = hash_
        self.time = 0
        self.rechained: Final = Rechained() if rechain else None
        self._hash_version: Final = hash_version

    def take(self, item: EventItem, *, is_first_of_file: bool) -> TakenEvent:
        """Return the next event as it is to be stored.

        Raises:
            RefusedError: It is not what an event may be, or does not follow.
        """
        found = item.event
        time = check_values(found)
        # Numbers that no double holds, and the like, are refused here.
        text, data = parse_data(found.data)
        version = self._version_of(item.hash)
        text, has_valid_hash = _find_hashed(found, text, item.hash, version)
        values = EventCandidate(
            found.source, found.subject, found.type, text, found.traceparent, found.tracestate
        )
        check_size(values)
        if time < self.time:
            raise _malformed("it is older than the event before it")
        id_, hash_ = found.id, item.hash
        if self.rechained is None:
            self._check_follows(item, has_valid_hash=has_valid_hash, is_first=is_first_of_file)
        else:
            id_ = str(self.count)
            hash_ = self._rechain(item, text, version, has_valid_hash=has_valid_hash)
        json = to_event_json(
            values,
            specversion=found.specversion,
            id_=id_,
            time=found.time,
            predecessor_hash=self.hash,
            hash_=hash_,
        )
        self.count, self.hash, self.time = self.count + 1, hash_, time
        return TakenEvent(id_, hash_, text, data, json)

    def follow(self, item: EventItem) -> None:
        """Take an event of which only the chain is of interest, because it was stored before.

        Raises:
            RefusedError: It does not follow, or its hash is not that of its content.
        """
        version = self._version_of(item.hash)
        text = bytes(item.event.data).decode()
        has_valid_hash = _hash_of(item.event, text, version) == item.hash
        self._check_follows(item, has_valid_hash=has_valid_hash, is_first=False)
        self.count, self.hash = self.count + 1, item.hash

    def _version_of(self, hash_: str) -> HashVersion:
        if not hash_:
            if self.rechained is not None:
                return self._hash_version
            raise RefusedError(Code.EVENT_HASH_MISSING, "it has no hash")
        version = hash_version_of(hash_)
        if version is None:
            message = f"its hash is of a version that is not known: '{hash_[:100]}'"
            raise RefusedError(Code.EVENT_HASH_VERSION_UNKNOWN, message)
        return version

    def _check_follows(self, item: EventItem, *, has_valid_hash: bool, is_first: bool) -> None:
        id_, expected = item.event.id, str(self.count)
        if id_ != expected:
            _refuse_id(id_, expected, is_first=is_first)
        if item.event.predecessorhash != self.hash:
            if is_first and self.count > 0:
                message = (
                    "it does not name the hash of the last event before the increment: the "
                    "increment belongs to another backup"
                )
                raise RefusedError(Code.BACKUP_INCREMENT_DISCONNECTED, message)
            what = (
                "the hash of the event before it" if self.count else "64 zeros, as the first does"
            )
            raise _broken(f"its predecessor hash is not {what}")
        if not has_valid_hash:
            raise _broken("its hash is not that of its content")

    def _rechain(
        self, item: EventItem, text: str, version: HashVersion, *, has_valid_hash: bool
    ) -> str:
        """Return the hash that an event has in its new place."""
        found, id_ = item.event, str(self.count)
        hash_ = item.hash
        if not has_valid_hash or (found.id, found.predecessorhash) != (id_, self.hash):
            hash_ = _hash_of(found, text, version, id_=id_, predecessor_hash=self.hash)
        assert self.rechained is not None
        if hash_ != item.hash or id_ != found.id:
            self.rechained.note(Change(found.id, id_, item.hash, hash_))
        return hash_


def _refuse_id(id_: str, expected: str, *, is_first: bool) -> NoReturn:
    if not is_first:
        raise _broken(f"its id is '{id_[:100]}', and {expected} would be next", expected=expected)
    if expected == "0":
        message = (
            f"the first event has the id '{id_[:100]}', and not 0: this is an increment, and the "
            "full backup before it is missing"
        )
        raise RefusedError(Code.FULL_BACKUP_MISSING, message, expected=expected)
    message = (
        f"the increment begins with the id '{id_[:100]}', and {expected} would be next: an "
        "increment is missing, comes twice or is in the wrong order"
    )
    raise RefusedError(Code.BACKUP_INCREMENT_DISCONNECTED, message, expected=expected)


def check_values(event: BackedUpEvent) -> int:
    """Check all values but the data and those of the chain, and return the time.

    Raises:
        RefusedError: One is not what it may be.
    """
    if event.specversion != SPECVERSION and _match_specversion(event.specversion) is None:
        raise _malformed(f"its specversion is '{event.specversion[:100]}'")
    if event.datacontenttype != DATACONTENTTYPE:
        raise _malformed(
            f"its datacontenttype is '{event.datacontenttype[:100]}', and not {DATACONTENTTYPE}"
        )
    try:
        _parse_source(event.source)
        _parse_event_type(event.type)
        subject = parse_subject(event.subject)
        if event.traceparent is not None:
            parse_traceparent(event.traceparent)
        if event.tracestate is not None:
            parse_tracestate(event.tracestate, traceparent=event.traceparent)
        time = parse_time(event.time)
    except RefusedError as error:
        raise _malformed(error.message, **error.details) from error
    except ValueError as error:
        raise _malformed(f"its time is {error}", field="time") from error
    if event.time.endswith("0Z") and "." in event.time:
        # Clients format the time anew before they verify a hash.
        raise _malformed(f"its time '{event.time}' has zeros at the end of its fraction")
    if subject != event.subject:
        raise _malformed(f"its subject '{event.subject}' ends with a slash", field="subject")
    return time


def check_size(values: EventCandidate) -> None:
    """Raise a RefusedError if an event is larger than events may be."""
    if len(values.data) > _SMALL_SIZE:
        size = candidate_size(values)
        if size > EVENT_SIZE_MAX:
            message = f"it has {size} bytes, and an event may hold {EVENT_SIZE_MAX}"
            raise RefusedError(Code.EVENT_TOO_LARGE, message, limit=EVENT_SIZE_MAX)


def _find_hashed(
    event: BackedUpEvent, minified: str, hash_: str, version: HashVersion
) -> tuple[str, bool]:
    """Return the text of the data that the hash covers, and whether the hash is right.

    That is the text as it stands in the backup, or without the space between its tokens, which
    somebody may have put there since.
    """
    text = minified
    if len(event.data) != len(minified):
        text = bytes(event.data).decode()
    is_valid = _hash_of(event, text, version) == hash_
    # A line of the log ends where somebody sees the end of a line.
    if text != minified and (not is_valid or "\r" in text):
        is_valid = _hash_of(event, minified, version) == hash_
        text = minified
    if not is_valid and hash_ and _match_hash(hash_) is None:
        raise RefusedError(Code.EVENT_HASH_MALFORMED, f"its hash is none: '{hash_[:100]}'")
    return text, is_valid


def _hash_of(
    event: BackedUpEvent,
    text: str,
    version: HashVersion,
    *,
    id_: str | None = None,
    predecessor_hash: str | None = None,
) -> str:
    """Return the hash of an event, perhaps with another id and predecessor."""
    id_ = event.id if id_ is None else id_
    predecessor_hash = event.predecessorhash if predecessor_hash is None else predecessor_hash
    if version is HashVersion.V2:
        return hash_v2(
            event.specversion,
            id_,
            predecessor_hash,
            event.time,
            event.source,
            event.subject,
            event.type,
            event.datacontenttype,
            event.traceparent,
            event.tracestate,
            text,
        )
    return hash_v1(
        event.specversion,
        id_,
        predecessor_hash,
        event.time,
        event.source,
        event.subject,
        event.type,
        event.datacontenttype,
        text,
    )


def _malformed(reason: str, **details: object) -> RefusedError:
    return RefusedError(Code.BACKUP_MALFORMED, reason, **details)


def _broken(reason: str, **details: object) -> RefusedError:
    return RefusedError(Code.EVENT_CHAIN_BROKEN, reason, **details)

"""Flipping bits in stored files, and judging what audits, openings and readers make of it."""

import json
import random
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from everlog.domain.chain import HashVersion
from everlog.domain.errors import CorruptLogError, DataDirectoryError
from everlog.maintenance.findings import Weight
from everlog.storage.log import LogEngine
from tests.support.audits import audit_of
from tests.support.chain import check_chain
from tests.support.copies import settle
from tests.support.engines import Content, content_of, kill, open_log, split_lines
from tests.support.events import TRACEPARENT, a_candidate, a_schema, stage, store, store_staged

# The cells of an event or a subject that mean something.
_CELL_SIZES = {"offset": 8, "subject": 4, "type": 4, "previous": 8, "parent": 4}

_MEMBERS = {
    *("specversion", "id", "time", "source", "subject", "type", "datacontenttype", "data"),
    *("predecessorhash", "hash", "signature", "traceparent"),
}


class Part(StrEnum):
    """What a file is for; each rots in its own way."""

    FORMAT = "format"
    LOG = "log"
    DURABLE_BOUND = "durable bound"
    SCHEMAS = "schemas"
    INDEX = "index"


class Flip(NamedTuple):
    """One bit of one file."""

    part: Part
    path: Path
    offset: int
    bit: int


class HiddenRotError(AssertionError):
    """A flipped bit that nobody tells of, or that something was cut for."""


class Directory:
    """A data directory after a clean stop, as it was written."""

    def __init__(self, path: Path) -> None:
        """Write it: writes, batches and schemas, over several segments."""
        self.path = path
        engine = open_log(path)
        for number in range(8):
            stage(engine, a_candidate("/a", traceparent=TRACEPARENT), a_candidate(f"/b/{number}"))
            stage(engine, a_candidate("/c", data='{"t":"\u00e9"}'), hash_version=HashVersion.V1)
            if number % 4 == 0:
                engine.stage_schema(a_schema(f"io.everlog.t{number}"))
            store_staged(engine)
        self.content = content_of(engine)
        engine.close()

    def draw(self, rng: random.Random) -> Flip:
        """Choose a bit that means something, of each part about as often."""
        part = rng.choice([Part.LOG, Part.LOG, *Part])
        path, size = rng.choice(list(self._files(part)))
        return Flip(part, path.relative_to(self.path), rng.randrange(size), rng.randrange(8))

    def copy(self, target: Path, flip: Flip) -> None:
        shutil.copytree(self.path, target)
        content = bytearray((target / flip.path).read_bytes())
        content[flip.offset] ^= 1 << flip.bit
        (target / flip.path).write_bytes(content)
        settle(target)

    def event_at(self, flip: Flip) -> int:
        """Return the id of the event in whose line a bit of the log lies."""
        content = (self.path / flip.path).read_bytes()
        return int(flip.path.stem) + content.count(b"\n", 0, flip.offset)

    def _files(self, part: Part) -> list[tuple[Path, int]]:
        """Return the files of a part, with how many of their bytes mean something."""
        folder = self.path / "index"
        paths = {
            Part.FORMAT: [self.path / "everlog.json"],
            Part.LOG: list((self.path / "log").iterdir()),
            Part.DURABLE_BOUND: [self.path / "durable"],
            Part.SCHEMAS: [self.path / "schemas.ndjson"],
            Part.INDEX: [path for path in folder.iterdir() if path.name not in _CELL_SIZES],
        }[part]
        found = [(path, path.stat().st_size) for path in sorted(paths)]
        if part is Part.INDEX:
            counts = dict.fromkeys(_CELL_SIZES, self.content.head.event_count)
            counts["parent"] = self.content.head.subject_count
            found += [(folder / name, _CELL_SIZES[name] * counts[name]) for name in _CELL_SIZES]
        return found


class Judge:
    """Judges copies of a directory, each with one bit flipped."""

    def __init__(
        self,
        directory: Directory,
        folder: Path,
        *,
        open_engine: Callable[[Path], LogEngine] = open_log,
    ) -> None:
        """Make the copies in a folder of its own."""
        self._directory = directory
        self._folder = folder
        self._open = open_engine
        folder.mkdir()

    def judge(self, flip: Flip) -> None:
        copy = self._folder / "copy"
        self._directory.copy(copy, flip)
        self._check_audit_tells(copy, flip)
        self._check_opening(copy, flip)
        if flip.part is Part.LOG:
            # Without an index, everything is read at opening.
            shutil.rmtree(copy / "index")
            self._check_refused(copy, flip)
        shutil.rmtree(copy)

    def _check_audit_tells(self, copy: Path, flip: Flip) -> None:
        try:
            findings, _ = audit_of(copy)
        except DataDirectoryError:
            if flip.part is not Part.FORMAT:
                raise
            return
        told = [found for found in findings if found.file == flip.path.as_posix()]
        if flip.part is Part.LOG:
            events = {found.event_id for found in told if found.weight is Weight.DATA}
            if self._directory.event_at(flip) not in events:
                raise HiddenRotError("an audit does not name the event")
        elif not any(found.weight is not Weight.NOTICE for found in told):
            raise HiddenRotError("an audit does not tell of it")

    def _check_opening(self, copy: Path, flip: Flip) -> None:
        before = _log_of(copy)
        try:
            engine = self._open(copy)
        except DataDirectoryError as error:
            if flip.part in {Part.INDEX, Part.DURABLE_BOUND}:
                raise
            if flip.part is Part.LOG and self._directory.event_at(flip) != _position_of(error):
                raise HiddenRotError("the refusal names another event") from error
            return
        if flip.part in {Part.FORMAT, Part.SCHEMAS}:
            raise HiddenRotError("it was opened as if nothing were wrong")
        content = _content_or_none(engine)
        store(engine, a_candidate("/later"))
        engine.close()
        if not _log_of(copy).startswith(before):
            raise HiddenRotError("something was cut or changed")
        if flip.part is Part.LOG:
            # Events before the snapshot are not read again: it is there as it lies on the disk,
            # and whoever verifies the chain sees it.
            self._check_clients_can_tell(content)
            self._check_audit_tells(copy, flip)
        elif content != self._directory.content:
            raise HiddenRotError("readers see something else than was stored")
        elif audit_of(copy)[0]:
            raise HiddenRotError("an audit finds something where nothing is wrong any more")

    def _check_clients_can_tell(self, content: Content | None) -> None:
        try:
            assert content is not None
            lines = split_lines(content.log)
            check_chain(lines)
            for line in lines:
                _check_form(json.loads(line))
        except (AssertionError, ValueError, LookupError, TypeError):
            return
        if content.log.translate(None, b" ") == self._directory.content.log.translate(None, b" "):
            # A mark: clients get the very same event.
            return
        raise HiddenRotError("no client that verifies the chain would notice")

    def _check_refused(self, copy: Path, flip: Flip) -> None:
        before = _log_of(copy)
        try:
            engine = self._open(copy)
        except CorruptLogError as error:
            if error.position != self._directory.event_at(flip):
                raise HiddenRotError("the refusal names another event") from error
        else:
            kill(engine)
            raise HiddenRotError("damage was read and not refused")
        if _log_of(copy) != before:
            raise HiddenRotError("something was cut or changed")


def _check_form(item: Any) -> None:
    """Check what no hash covers: the names of the members."""
    assert item.keys() == {"type", "payload"}
    assert item["type"] == "event"
    assert {*item["payload"], "traceparent"} == _MEMBERS


def _log_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((directory / "log").iterdir()))


def _position_of(error: DataDirectoryError) -> int | None:
    return error.position if isinstance(error, CorruptLogError) else None


def _content_or_none(engine: LogEngine) -> Content | None:
    """Return what readers see, None where what they ask for cannot be read."""
    try:
        return content_of(engine)
    except ValueError:
        return None

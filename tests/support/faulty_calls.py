"""A disk of which any single call can fail, and a client that notes what it was told meanwhile.

Calls are counted over all kinds, so that a run can be repeated with each of its calls failing in
turn. Where a call comes from is noted too, so that a test can see that no place was left out.
"""

import ast
import errno
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from everlog.domain.errors import DataDirectoryError, DiskFullError, StoreFailedError
from everlog.domain.merkle import root
from everlog.storage.engine import Batch
from everlog.storage.log import LogEngine
from everlog.storage.log.disk import Disk, Folder
from everlog.storage.log.tree_files import TreeFiles
from everlog.transfer.backup_lines import to_backup_lines
from everlog.transfer.restoring import Restoring
from tests.support.audits import check_audit_is_clean
from tests.support.backups import backup_of
from tests.support.committing import commit_at_once, commit_in_steps
from tests.support.disks import Kind, QuickDisk
from tests.support.engines import Content, content_of, events_of, kill, open_log
from tests.support.events import a_candidate, a_schema, an_entry, seal, stage, store
from tests.support.merkle import leaf_hash, tree_root
from tests.support.sources import REPOSITORY

SYNCS = frozenset({Kind.SYNC_DATA, Kind.SYNC_DIRECTORY})

STORAGE = REPOSITORY / "src" / "everlog" / "storage" / "log"


class Failure(StrEnum):
    """How a call fails."""

    # There is no room, once.
    FULL = "full"
    # There is no room from then on, until the server is started again.
    STAYING_FULL = "staying full"
    # The device fails, once.
    BROKEN = "broken"
    # A write takes only some of the bytes; other calls do as they should.
    SHORT = "short"


class Site(NamedTuple):
    """A place in the engine that calls the disk."""

    file: str
    function: str
    kind: Kind


class FaultyCalls(QuickDisk):
    """The real disk, but for one call."""

    def __init__(
        self,
        number: int | None = None,
        failure: Failure = Failure.BROKEN,
        *,
        can_allocate: bool = True,
    ) -> None:
        """Let the call of this number fail; None lets all succeed."""
        self._number = number
        # Some file systems cannot reserve room.
        self._can_allocate = can_allocate
        self.failure = failure
        self.sites: list[Site] = []
        # The kind of the call that failed.
        self.failed: Kind | None = None

    def heal(self) -> None:
        """Succeed from now on, as after the repair that a person makes."""
        self._number = self.failed = None

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        self._note(Kind.OPEN)
        return super().open(folder, name, flags)

    def make_directory(self, folder: Folder | None, name: str) -> None:
        self._note(Kind.MAKE_DIRECTORY)
        super().make_directory(folder, name)

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        if self._note(Kind.WRITE) and len(data) > 1:
            data = data[: len(data) // 2]
        return super().write(file, data, offset)

    def sync_data(self, file: int) -> None:
        self._note(Kind.SYNC_DATA)
        super().sync_data(file)

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._note(Kind.ALLOCATE)
        if not self._can_allocate:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        super().allocate(file, offset, size)

    def truncate(self, file: int, size: int) -> None:
        self._note(Kind.TRUNCATE)
        super().truncate(file, size)

    def rename(self, folder: Folder, source: str, target: str) -> None:
        self._note(Kind.RENAME)
        super().rename(folder, source, target)

    def move(self, source: Folder, name: str, target: Folder) -> None:
        self._note(Kind.MOVE)
        super().move(source, name, target)

    def remove_file(self, folder: Folder, name: str) -> None:
        self._note(Kind.REMOVE_FILE)
        super().remove_file(folder, name)

    def remove_directory(self, folder: Folder, name: str) -> None:
        self._note(Kind.REMOVE_DIRECTORY)
        super().remove_directory(folder, name)

    def sync_directory(self, folder: Folder) -> None:
        self._note(Kind.SYNC_DIRECTORY)
        super().sync_directory(folder)

    def _note(self, kind: Kind) -> bool:
        """Fail if it is this call's turn, and tell whether it is to fall short."""
        caller = sys._getframe(2).f_code
        number = len(self.sites)
        self.sites.append(Site(Path(caller.co_filename).name, caller.co_name, kind))
        if self._number is None or number < self._number:
            return False
        if number > self._number and self.failure is not Failure.STAYING_FULL:
            return False
        if self.failure is Failure.STAYING_FULL and kind in SYNCS:
            # Room is what writes need, not syncs.
            return False
        if self.failure is Failure.SHORT and kind is not Kind.WRITE:
            return False
        self.failed = self.failed or kind
        if self.failure is Failure.SHORT:
            return True
        error = errno.EIO if self.failure is Failure.BROKEN else errno.ENOSPC
        raise OSError(error, os.strerror(error))


def numbers_that_differ(sites: Sequence[Site], failure: Failure) -> list[int]:
    """Return the calls of a run that fail in this way, each with what no other one brings about."""

    def can_fail(kind: Kind) -> bool:
        if failure is Failure.SHORT:
            return kind is Kind.WRITE
        # Without room from a sync on is without room from the next call on.
        return failure is not Failure.STAYING_FULL or kind not in SYNCS

    return [number for number, site in enumerate(sites) if can_fail(site.kind)]


def sites_of_the_engine() -> set[Site]:
    """Find every place in the sources of the engine that calls a disk."""
    return {
        Site(path.name, function.name, Kind(call.func.attr))
        for path in STORAGE.glob("*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in set(Kind)
        and ast.unparse(call.func.value) in {"disk", "self._disk"}
    }


class BrokenPromiseError(AssertionError):
    """A client was told something that is not so."""


class Client:
    """Writes, restarts the server where it fails, and notes what it was told."""

    def __init__(self, directory: Path, disk: FaultyCalls) -> None:
        """Know nothing yet."""
        self._directory = directory
        self._disk = disk
        self._engine: LogEngine | None = None
        self._number = 0
        # Lines that were acknowledged, and subjects of writes by what became of them.
        self.log = b""
        self.types: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: dict[str, int] = {}

    def run(self) -> None:
        """Do all that an engine does."""
        self._start()
        self._restore()
        for size in (1, 3, 1):
            self._write(size)
        self._write(1, schema="io.everlog.one")
        self._save_snapshot()
        self._write(2, schema="io.everlog.two")
        for _ in range(3):
            # Columns and segments grow.
            self._write(6)
        self._save_tree()
        self._stop()
        self._start()
        self._write(1)
        self._die()
        # The process was registering an event schema.
        with (self._directory / "schemas.ndjson").open("ab") as file:
            file.write(b'{"type":"schema","payl')
        self._start()
        self._write(1)
        self._die()
        self._copy()
        self._start()
        self._write(1)
        self._stop()

    def _copy(self) -> None:
        """Put a copy in the place of the directory, with a segment of a later moment."""
        original = self._directory.with_name(f"{self._directory.name}-original")
        self._directory.rename(original)
        shutil.copytree(original, self._directory)
        (self._directory / "log" / f"{1_000:020}.ndjson").write_bytes(b"{}\n")

    def _start(self) -> None:
        try:
            self._engine = open_log(self._directory, disk=self._disk)
        except (DataDirectoryError, DiskFullError, OSError):
            if self._disk.failed is None:
                raise
            # Somebody looks at the disk, and starts the server again.
            self._disk.heal()
            self._engine = open_log(self._directory, disk=self._disk)
        found = content_of(self._engine).log
        if not found.startswith(self.log):
            raise BrokenPromiseError("an acknowledged event is not there after a start")
        self.log = found

    def _restore(self) -> None:
        """Restore a backup of one event into the empty store."""
        backup = backup_of([a_candidate("/restored")])
        try:
            with Restoring(self._directory, disk=self._disk) as restoring:
                restoring.feed(backup)
                restoring.finish()
        except (DataDirectoryError, DiskFullError, StoreFailedError, OSError):
            if self._disk.failed is None:
                raise
            self._disk.heal()
        self._stop()
        self._start()
        if self.log and to_backup_lines(self.log, 1) != backup:
            raise BrokenPromiseError("half of a backup was restored")

    def _write(self, size: int, *, schema: str | None = None) -> None:
        """Store one write of some events, all on a subject of its own."""
        self._number += 1
        subject = f"/write/{self._number}"
        engine = self._running()
        before = content_of(engine)
        self._disk.failed = None
        try:
            batch = self._commit(subject, size, schema)
        except DiskFullError:
            engine.roll_back()
            self.refused.add(subject)
            self._check_error(is_full=True)
            self._check_reads(before)
            self._disk.heal()
        except StoreFailedError:
            engine.roll_back()
            self.unknown[subject] = size
            self._check_error(is_full=False)
            self._check_reads(before)
            self._check_nothing_is_accepted()
            self._restart()
        else:
            if self._disk.failed in SYNCS:
                raise BrokenPromiseError("a write was acknowledged although its sync failed")
            self.log += b"".join(batch.lines)
            if schema is not None:
                self.types.add(schema)
            self._check_reads(None)

    def _commit(self, subject: str, size: int, schema: str | None) -> Batch:
        """Bring a write to the disk, in each of the ways in turn."""
        engine = self._running()
        candidates = [a_candidate(subject)] * size
        schemas = [] if schema is None else [a_schema(schema)]
        if self._number % 3 == 0:
            entry = an_entry(engine.head, candidates, schemas=schemas)
            return engine.apply(entry, is_verified=False)
        stage(engine, *candidates)
        for staged in schemas:
            engine.stage_schema(staged)
        batch = seal(engine)
        commit = commit_in_steps if self._number % 3 == 1 else commit_at_once
        commit(engine, batch, self._disk)
        engine.publish(batch)
        return batch

    def _check_error(self, *, is_full: bool) -> None:
        """Check that the client was told what is wrong with the disk."""
        failed, failure = self._disk.failed, self._disk.failure
        if failed is None:
            raise BrokenPromiseError("a write failed although the disk did not")
        was_full = failure is not Failure.BROKEN and failed not in SYNCS
        # Where room is missing for undoing the write too, the disk is as good as broken.
        if is_full != was_full and not (was_full and failure is Failure.STAYING_FULL):
            raise BrokenPromiseError("a broken disk was said to be full, or the other way round")

    def _check_reads(self, before: Content | None) -> None:
        """Check that reading goes on, and shows what was acknowledged and nothing else."""
        content = content_of(self._running())
        is_changed = before is not None and before != content
        if content.log != self.log or is_changed:
            raise BrokenPromiseError("readers see something that was not acknowledged")

    def _check_nothing_is_accepted(self) -> None:
        engine = self._running()
        try:
            stage(engine, a_candidate("/later"))
            engine.commit(seal(engine))
        except StoreFailedError:
            engine.roll_back()
        else:
            raise BrokenPromiseError("a write was accepted behind one whose outcome is unknown")

    def _save_snapshot(self) -> None:
        try:
            self._running().save_snapshot()
        except OSError:
            self._check_reads(content_of(self._running()))

    def _save_tree(self) -> None:
        """Keep the tree of what there is; it is found again whole, or not at all."""
        hashes = [event.hash.encode() for event in events_of(self.log)]
        with suppress(DiskFullError, OSError):
            self._find_tree(hashes, self._disk, is_to_grow=True)
        size, found = self._find_tree(hashes, QuickDisk())
        if size > 0 and found != tree_root(hashes[:size]):
            raise BrokenPromiseError("the tree is that of another log")

    def _find_tree(
        self, hashes: list[bytes], disk: Disk, *, is_to_grow: bool = False
    ) -> tuple[int, bytes]:
        """Open the tree, let it grow if that is to be done, and return its size and root."""
        with ExitStack() as resources:
            files = TreeFiles.open(self._running().directory, disk, resources)
            files.restore(lambda position: hashes[position].decode())
            if is_to_grow:
                leaves = [leaf_hash(hash_) for hash_ in hashes[files.size :]]
                files.append(leaves, hashes[-1].decode())
                files.save()
            return files.size, root(files.size, files.hash_of)

    def _stop(self) -> None:
        try:
            self._running().close()
        except OSError:
            if self._disk.failed is None:
                raise
        self._engine = None

    def _die(self) -> None:
        kill(self._running())
        self._engine = None

    def _restart(self) -> None:
        self._stop()
        self._disk.heal()
        self._start()

    def _running(self) -> LogEngine:
        assert self._engine is not None
        return self._engine

    def check(self) -> None:
        """Start on a good disk, and compare what is there with what was told."""
        engine = open_log(self._directory)
        content = content_of(engine)
        if not content.log.startswith(self.log):
            raise BrokenPromiseError("an acknowledged event is not there")
        counts = Counter(event.subject for event in events_of(content.log))
        if counts.keys() & self.refused:
            raise BrokenPromiseError("a refused event is there")
        for subject, size in self.unknown.items():
            if counts.get(subject, 0) not in {0, size}:
                raise BrokenPromiseError("half a write is there")
        if not self.types <= {entry.name for entry in content.event_types if entry.schema}:
            raise BrokenPromiseError("an acknowledged event schema is not there")
        store(engine, a_candidate())
        engine.close()
        check_audit_is_clean(self._directory)

"""The audit of the history: the rules that it keeps, and bugs that break each of them."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from everlog.maintenance import audit_history as module
from everlog.maintenance.audit import Head, Progress
from everlog.maintenance.audit_history import AuditedEvent, OtherHash, audit_history
from everlog.maintenance.audit_log import DurableBound
from everlog.maintenance.files import Folder, opened_directory
from everlog.maintenance.findings import Finding, Kind
from everlog.storage.engine import Head as LogHead
from tests.support.audits import edit_line
from tests.support.chain import data_text
from tests.support.engines import open_log, split_lines
from tests.support.events import a_candidate, seal, stage, store
from tests.support.running_audits import rewritten

Outcome = AuditedEvent | OtherHash | Finding | None
Audit = Callable[..., Outcome]

COUNT = 9

KNOWN = 4


class Store:
    """A directory that a server has open, and what its head was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = open_log(path, segment_size_max=1024 * 1024)
        for number in range(COUNT):
            store(self.engine, a_candidate(f"/a/{number % 3}", data=f'{{"n":{number}}}'))
        self.head = self.engine.head
        lines = split_lines(self.log)
        self.hashes = [re.findall(rb'"hash":"([^"]+)"', line)[-1].decode() for line in lines]

    @property
    def log(self) -> bytes:
        return b"".join(path.read_bytes() for path in (self.path / "log").iterdir()).rstrip(b"\0")

    def audit(
        self,
        audit: Audit,
        last_audited: AuditedEvent | None = None,
        *,
        head: LogHead | None = None,
    ) -> Outcome:
        found = self.head if head is None else head
        bound = DurableBound(found.event_count, found.log_size, 0)
        with opened_directory(self.path) as opened:
            return audit(opened, Head(bound, found.hash), last_audited, on_progress=lambda _: None)

    def known(self, event_id: int = KNOWN) -> AuditedEvent:
        return AuditedEvent(event_id, self.hashes[event_id])

    def damage(self, event_id: int) -> None:
        edit_line(self.path, event_id, lambda line: line.replace(b'"n":', b'"m":'))


def check_rules(audit: Audit, path: Path) -> None:
    """Check everything that an audit of the history promises."""
    kept = Store(path / "kept")
    last = AuditedEvent(COUNT - 1, kept.head.hash)
    assert kept.audit(audit) == last
    for event_id in range(COUNT):
        assert kept.audit(audit, kept.known(event_id)) == last
        other = AuditedEvent(event_id, "0" * 64)
        assert kept.audit(audit, other) == OtherHash(event_id, kept.hashes[event_id])
    check_head_is_the_end(audit, kept)
    for event_id in range(COUNT):
        damaged = Store(path / f"damaged-{event_id}")
        damaged.damage(event_id)
        for known in (None, damaged.known(0), damaged.known(), damaged.known(COUNT - 1)):
            found = damaged.audit(audit, known)
            assert isinstance(found, Finding)
            assert (found.kind, found.event_id) == (Kind.HASH, event_id)
    check_forgery_is_noticed(audit, path)


def check_head_is_the_end(audit: Audit, kept: Store) -> None:
    # What is written, and what is being written, behind the head may be anything.
    before = kept.head
    store(kept.engine, a_candidate("/a"))
    stage(kept.engine, a_candidate("/b"))
    kept.engine.commit(seal(kept.engine))
    kept.damage(COUNT)
    assert kept.audit(audit, head=before) == AuditedEvent(COUNT - 1, before.hash)
    found = kept.audit(audit, head=kept.engine.head)
    assert isinstance(found, Finding)
    assert found.event_id == COUNT


def check_forgery_is_noticed(audit: Audit, path: Path) -> None:
    forged = Store(path / "forged")
    log = rewritten(forged.log, 2, b'"n":2', b'"n":7')
    assert [data_text(line) for line in split_lines(log)][2] == b'{"n":7}'
    segment = next((forged.path / "log").iterdir())
    with segment.open("r+b") as file:
        file.write(log)
    # The server knows the end of the chain as it was, and the client what it has kept.
    found = forged.audit(audit, forged.known(1))
    assert isinstance(found, Finding)
    assert found.kind is Kind.HEAD
    found = forged.audit(audit, forged.known())
    assert isinstance(found, OtherHash)


def test_the_rules_are_kept(tmp_path: Path) -> None:
    check_rules(audit_history, tmp_path)


def test_of_an_empty_store_nothing_is_known(tmp_path: Path) -> None:
    engine = open_log(tmp_path)
    with opened_directory(tmp_path) as opened:
        head = Head(DurableBound(), engine.head.hash)
        assert audit_history(opened, head, None, on_progress=lambda _: None) is None
    engine.close()


def test_a_log_that_ends_too_early_is_told(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    path = next((tmp_path / "log").iterdir())
    lines = split_lines(path.read_bytes().rstrip(b"\0"))
    with path.open("r+b") as file:
        file.truncate(sum(map(len, lines[:-1])))

    found = kept.audit(audit_history)

    assert isinstance(found, Finding)
    assert (found.kind, found.event_id) == (Kind.LOG_TOO_SHORT, COUNT - 1)


def test_a_log_that_was_taken_away_is_told(tmp_path: Path) -> None:
    kept = Store(tmp_path / "data")
    segment = next((tmp_path / "data" / "log").iterdir())
    segment.rename(tmp_path / "taken")
    (tmp_path / "data" / "log").rename(tmp_path / "log")

    found = kept.audit(audit_history)

    assert isinstance(found, Finding)
    assert (found.kind, found.event_id, found.file) == (Kind.LOG_TOO_SHORT, 0, "log")
    (tmp_path / "data" / "log").mkdir()
    assert kept.audit(audit_history) == found


def accept_any_hash(
    directory: Folder,
    head: Head,
    _: AuditedEvent | None,
    *,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    return audit_history(directory, head, None, on_progress=on_progress)


def stop_at_what_is_known(
    directory: Folder,
    head: Head,
    last_audited: AuditedEvent | None,
    *,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    found = audit_history(directory, head, last_audited, on_progress=on_progress)
    if last_audited is None or isinstance(found, OtherHash):
        return found
    is_before = isinstance(found, Finding) and (found.event_id or 0) <= last_audited.event_id
    return found if is_before else last_audited


def begin_behind_what_is_known(
    directory: Folder,
    head: Head,
    last_audited: AuditedEvent | None,
    *,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    found = audit_history(directory, head, last_audited, on_progress=on_progress)
    is_before = (
        isinstance(found, Finding)
        and last_audited is not None
        and (found.event_id or 0) < last_audited.event_id
    )
    return AuditedEvent(head.bound.event_count - 1, head.hash or "") if is_before else found


def go_beyond_the_head(
    directory: Folder,
    head: Head,
    last_audited: AuditedEvent | None,
    *,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    with ExitStack() as patched:
        monkeypatch = patched.enter_context(pytest.MonkeyPatch.context())
        find = module.find_segments
        monkeypatch.setattr(module, "find_segments", lambda folder, _: find(folder))
        return audit_history(directory, head, last_audited, on_progress=on_progress)


def trust_the_chain_alone(
    directory: Folder,
    head: Head,
    last_audited: AuditedEvent | None,
    *,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    return audit_history(directory, head._replace(hash=None), last_audited, on_progress=on_progress)


@pytest.mark.parametrize(
    "bug",
    [
        accept_any_hash,
        stop_at_what_is_known,
        begin_behind_what_is_known,
        go_beyond_the_head,
        trust_the_chain_alone,
    ],
    ids=lambda bug: bug.__name__,
)
def test_a_planted_bug_breaks_a_rule(tmp_path: Path, bug: Audit) -> None:
    with pytest.raises(AssertionError):
        check_rules(bug, tmp_path)

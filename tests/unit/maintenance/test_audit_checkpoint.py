"""An audit compares the log with checkpoints that somebody kept."""

from pathlib import Path

import pytest

from everlog.domain.chain import HashVersion
from everlog.maintenance.audit import audit
from everlog.maintenance.audit_checkpoint import KeptCheckpoint
from everlog.maintenance.findings import Finding, Kind, Summary, Weight
from everlog.verifying.checkpoints import Checkpoint
from tests.support.audits import edit_line, fill_directory, kill_while_writing
from tests.support.engines import events_of, open_log, read
from tests.support.events import a_candidate, store
from tests.support.merkle import tree_root

COUNT = 12


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    fill_directory(tmp_path / "data")
    return tmp_path / "data"


def hashes_of(directory: Path) -> list[bytes]:
    engine = open_log(directory)
    hashes = [event.hash.encode() for event in events_of(read(engine))]
    engine.close()
    return hashes


def kept(directory: Path, *sizes: int) -> list[KeptCheckpoint]:
    hashes = hashes_of(directory)
    return [
        KeptCheckpoint(f"kept-{size}", Checkpoint("log", size, tree_root(hashes[:size])))
        for size in sizes
    ]


def audited(
    directory: Path, checkpoints: list[KeptCheckpoint]
) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the findings about checkpoints, and the names of those that are confirmed."""
    found = [*audit(directory, on_progress=lambda _: None, checkpoints=checkpoints)]
    summary = found.pop()
    assert isinstance(summary, Summary)
    kinds = {Kind.CHECKPOINT_ROOT, Kind.CHECKPOINT_SIZE}
    findings = [one for one in found if isinstance(one, Finding) and one.kind in kinds]
    assert all(one.weight is Weight.DATA for one in findings)
    assert summary.is_ok or found
    return findings, summary.confirmed_checkpoints


def test_a_log_that_only_grew_is_as_all_its_checkpoints(directory: Path) -> None:
    sizes = [12, 5, 0, 5, 1]

    findings, confirmed = audited(directory, kept(directory, *sizes))

    assert findings == []
    assert confirmed == tuple(f"kept-{size}" for size in sizes)


def test_a_log_that_lost_its_end_is_shorter_than_a_checkpoint(directory: Path) -> None:
    hashes = hashes_of(directory)
    longer = Checkpoint("log", 13, tree_root([*hashes, b"another"]))

    findings, confirmed = audited(
        directory, [*kept(directory, 12), KeptCheckpoint("longer", longer)]
    )

    assert [(one.kind, one.event_id) for one in findings] == [(Kind.CHECKPOINT_SIZE, 12)]
    assert findings[0].meaning == "it ends before the 13 events of the checkpoint longer"
    assert confirmed == ("kept-12",)


def test_a_log_that_was_written_anew_is_another_one(directory: Path, tmp_path: Path) -> None:
    """Its chain is whole, and nothing but the checkpoint tells."""
    checkpoints = kept(directory, 3, 12)
    forged = open_log(tmp_path / "forged")
    for number in range(COUNT):
        store(forged, a_candidate(f"/d/{number}"), hash_version=HashVersion.V1)
    forged.close()

    findings, confirmed = audited(tmp_path / "forged", checkpoints)

    assert [one.kind for one in findings] == [Kind.CHECKPOINT_ROOT] * 2
    assert findings[1].meaning == "its first 12 events are not those of the checkpoint kept-12"
    assert confirmed == ()


def test_a_checkpoint_behind_a_flaw_cannot_be_compared(directory: Path) -> None:
    checkpoints = kept(directory, 5, 12)
    edit_line(directory, 9, lambda line: line.replace(b'"n":1', b'"n":2'))

    findings, confirmed = audited(directory, checkpoints)

    assert [one.kind for one in findings] == [Kind.CHECKPOINT_ROOT]
    assert "its first 12 events cannot be compared" in findings[0].meaning
    assert confirmed == ("kept-5",)


def test_what_was_never_acknowledged_is_no_part_of_the_log(directory: Path) -> None:
    checkpoints = kept(directory, 12)
    kill_while_writing(directory)

    assert audited(directory, checkpoints) == ([], ("kept-12",))


def test_an_audit_of_a_directory_without_events_knows_the_empty_log(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    empty = KeptCheckpoint("empty", Checkpoint("log", 0, tree_root([])))
    other = KeptCheckpoint("one", Checkpoint("log", 1, tree_root([b"a"])))

    findings, confirmed = audited(tmp_path, [empty, other])

    assert [one.kind for one in findings] == [Kind.CHECKPOINT_SIZE]
    assert confirmed == ("empty",)

"""What a restore left: it is put into its place, and nothing outside is touched."""

from pathlib import Path

import pytest

from everlog.domain.errors import DataDirectoryError
from everlog.storage.log import LogEngine, ReadOnlyLog, restored
from tests.support.audits import check_audit_is_clean
from tests.support.disks import DyingDisk, ProcessDiedError
from tests.support.engines import content_of, open_log
from tests.support.events import a_candidate, store


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """Return a directory with an empty store, and another one that waits for its place."""
    directory = tmp_path / "data"
    open_log(directory).close()
    engine = open_log(directory / "restored")
    store(engine, a_candidate("/restored"))
    engine.close()
    return directory


def subjects_in(directory: Path) -> list[str]:
    engine = open_log(directory)
    subjects = content_of(engine).subjects
    engine.close()
    return subjects


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_was_restored_is_there_at_the_next_opening(waiting: Path) -> None:
    assert subjects_in(waiting) == ["/", "/restored"]
    open_log(waiting.with_name("ordinary")).close()
    assert names_in(waiting) == names_in(waiting.with_name("ordinary"))
    check_audit_is_clean(waiting)


def test_what_later_versions_keep_beside_the_log_comes_along(waiting: Path) -> None:
    for directory, content in ((waiting, b"old"), (waiting / "restored", b"new")):
        (directory / "more").mkdir()
        (directory / "more" / "file").write_bytes(content)

    open_log(waiting).close()

    assert (waiting / "more" / "file").read_bytes() == b"new"


def test_who_dies_on_the_way_is_followed_by_who_goes_on(waiting: Path) -> None:
    for number in range(200):
        try:
            LogEngine.open(waiting, disk=DyingDisk(number)).close()
        except ProcessDiedError:
            continue
        break
    else:
        raise AssertionError("it never gets anywhere")

    assert number > 10


def test_a_draft_goes_and_what_its_links_point_to_stays(waiting: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"x")
    draft = waiting / "restore.new"
    (draft / "log").mkdir(parents=True)
    (draft / "log" / "link").symlink_to(tmp_path / "outside" / "file")
    (draft / "index").symlink_to(tmp_path / "outside")

    assert subjects_in(waiting) == ["/", "/restored"]

    assert not draft.exists()
    assert (tmp_path / "outside" / "file").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["restored", "restore.new"])
def test_a_link_is_never_followed(tmp_path: Path, name: str) -> None:
    directory, outside = tmp_path / "data", tmp_path / "outside"
    open_log(directory).close()
    engine = open_log(outside)
    store(engine, a_candidate("/outside"))
    engine.close()
    before = sorted(outside.rglob("*"))
    (directory / name).symlink_to(outside)

    if name == "restored":
        with pytest.raises(DataDirectoryError, match="restored is a symbolic link"):
            open_log(directory)
    else:
        assert subjects_in(directory) == []
        assert not (directory / name).is_symlink()
    assert sorted(outside.rglob("*")) == before


def test_who_only_reads_waits_for_a_server(waiting: Path) -> None:
    with pytest.raises(DataDirectoryError, match="is not in its place yet: start a server"):
        ReadOnlyLog.open(waiting)

    assert (waiting / restored.RESTORED_FOLDER).exists()

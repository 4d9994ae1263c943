"""The data directory: nobody else may read it, and nothing in it leads out of it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from everlog.storage.log.disk import ForeignFileError
from tests.support.api import Connection, an_event
from tests.support.engines import open_log
from tests.support.events import a_candidate, store
from tests.support.server import EVERLOG, running_server, started_process

# Starts a command with a umask, which is inherited.
WITH_UMASK = "import os, sys; os.umask(int(sys.argv[1], 8)); os.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize("umask", ["0000", "0022", "0277", "0777"])
def test_everything_is_for_its_owner_only_whatever_the_umask(tmp_path: Path, umask: str) -> None:
    data = tmp_path / "parent" / "data"
    entry_point = (sys.executable, "-c", WITH_UMASK, umask, *EVERLOG)

    with running_server(data_directory=data, entry_point=entry_point) as server:
        with Connection(server.url) as connection:
            connection.write(an_event())
            schema = {"type": "object", "properties": {}}
            body = {"type": "io.everlog.test.other", "schema": schema}
            assert connection.v2("register-event-schema", body).items[-1]["type"] == "end"
        assert server.stop() == 0

    paths = [data, *data.rglob("*")]
    assert len(paths) > 10
    for path in paths:
        expected = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o7777 == expected, path


def names_in_a_data_directory(directory: Path) -> list[str]:
    engine = open_log(directory)
    store(engine, a_candidate("/a"))
    engine.close()
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_link_in_place_of_anything_of_ours_is_refused(tmp_path: Path) -> None:
    """Each file and folder in turn is moved out of the directory and linked to."""
    names = names_in_a_data_directory(tmp_path / "sample")
    assert {"lock", "log", "index", "durable", "everlog.json"} < set(names)
    for name in (*names, "index/checkpoint.new"):
        directory = tmp_path / name.replace("/", "-")
        names_in_a_data_directory(directory)
        outside = tmp_path / "outside"
        if (directory / name).exists():
            (directory / name).rename(outside)
        else:
            outside.write_text("mine")
        (directory / name).symlink_to(outside)
        before = content_below(outside)

        with pytest.raises(ForeignFileError, match=f"{name} is a symbolic link") as caught:
            open_and_write(directory)

        assert "nothing was changed" in str(caught.value)
        assert content_below(outside) == before
        assert (directory / name).is_symlink()
        remove(outside)


def open_and_write(directory: Path) -> None:
    engine = open_log(directory)
    store(engine, a_candidate("/b"))
    engine.close()


def content_below(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    return {str(file): file.read_bytes() for file in files}


def remove(path: Path) -> None:
    if path.is_dir():
        path.rename(path.with_name(f"done-{path.stat().st_ino}"))
    else:
        path.unlink()


@pytest.mark.parametrize("name", ["durable", "schemas.ndjson", "everlog.json", "index/event-types"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_in_the_place_of_one(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    names_in_a_data_directory(tmp_path)
    (tmp_path / name).unlink()
    make(tmp_path / name)

    with pytest.raises(ForeignFileError, match="where Everlog keeps a file of its own"):
        open_log(tmp_path)


def test_a_link_that_appears_where_the_next_segment_belongs_is_not_written_through(
    tmp_path: Path,
) -> None:
    (tmp_path / "outside").write_text("mine")
    data = tmp_path / "data"
    engine = open_log(data, segment_size_max=1)
    store(engine, a_candidate("/a"))
    (data / "log" / f"{1:020d}.ndjson").symlink_to(tmp_path / "outside")

    with pytest.raises(Exception, match="symbolic link"):
        store(engine, a_candidate("/b"))

    engine.close()
    assert (tmp_path / "outside").read_text() == "mine"


def test_a_server_says_which_link_it_does_not_follow(tmp_path: Path) -> None:
    data = tmp_path / "data"
    names_in_a_data_directory(data)
    (data / "durable").rename(tmp_path / "elsewhere")
    (data / "durable").symlink_to(tmp_path / "elsewhere")
    command = (*EVERLOG, "run", f"--data-directory={data}", "--http-enabled", "--http-port=0")

    environment = {"EVERLOG_API_TOKEN": "a", "EVERLOG_HTTPS_ENABLED": "false"}
    with started_process(command, data, environment) as server:
        assert server.wait() == 3

    assert f"{data / 'durable'} is a symbolic link" in server.log[-1]["message"]
    assert server.log[-1]["level"] == "fatal"


def test_the_data_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to(tmp_path / "large-disk")

    open_and_write(tmp_path / "data")

    assert (tmp_path / "large-disk" / "everlog.json").is_file()


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    """Also those with names much like ours, and links that lead nowhere."""
    data = tmp_path / "data"
    names_in_a_data_directory(data)
    foreign = ["notes.txt", "lock.bak", "everlog.json~", "index/notes", "index/checkpoint.json.bak"]
    for name in foreign:
        (data / name).write_text(f"mine: {name}")
    (data / "link").symlink_to(tmp_path / "nowhere")
    (data / "folder").mkdir()
    (data / "folder" / "file").write_text("mine")

    with running_server(data_directory=data) as server, Connection(server.url) as connection:
        connection.write(an_event())
        assert server.stop() == 0

    for name in foreign:
        assert (data / name).read_text() == f"mine: {name}"
    assert (data / "link").is_symlink()
    assert (data / "folder" / "file").read_text() == "mine"


def test_what_a_link_in_a_temporary_directory_leads_to_outlives_it(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    environment = {"TMPDIR": str(tmp_path), "EVERLOG_API_TOKEN": "a"}
    flags = ("--data-directory-temporary", "--http-enabled", "--http-port=0")
    command = (*EVERLOG, "run", *flags, "--https-enabled=false", "--host=127.0.0.1")
    with started_process(command, tmp_path, environment) as server:
        server.wait_for_log("listening")
        opened = server.wait_for_log("the data directory is open")
        directory = Path(opened["directory"])
        (directory / "link").symlink_to(tmp_path)
        assert server.stop() == 0

    assert not directory.exists()
    assert (tmp_path / "kept").read_text() == "mine"


# Starts the command line as if somebody else ran it.
AS_USER = "import os, sys; os.geteuid = lambda: {user}; from everlog.cli import main; main()"


@pytest.mark.parametrize("user, is_warned", [(0, True), (1_000, False)])
def test_running_as_root_warns_once(user: int, *, is_warned: bool) -> None:
    with running_server(entry_point=(sys.executable, "-c", AS_USER.format(user=user))) as server:
        assert server.stop() == 0

    warnings = [line for line in server.log if line["message"].startswith("running as root")]
    assert [line["level"] for line in warnings] == ["warn"] * is_warned


@pytest.mark.parametrize("mode, is_warned", [(0o700, False), (0o750, False), (0o702, True)])
def test_a_directory_that_everybody_may_write_to_warns(
    tmp_path: Path, mode: int, *, is_warned: bool
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)

    with running_server(data_directory=data) as server:
        assert server.stop() == 0

    assert is_warned == any("every user" in line["message"] for line in server.log)
    # It was made by somebody else, and stays as it was made.
    assert data.stat().st_mode & 0o777 == mode

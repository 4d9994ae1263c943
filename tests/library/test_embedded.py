"""A store in this process: who may open it, what is left of it, and what it does to the process."""

import gc
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import everlog
from everlog import NewEvent
from tests.support.keys import write_signing_key
from tests.support.sources import REPOSITORY


def event(subject: str = "/books/42", **data: Any) -> NewEvent:
    return NewEvent("https://library.example", subject, "com.example.book-acquired", data)


def run_python(text: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run a program that must end well, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *options, "-W", "error", "-c", text, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with everlog.open(tmp_path / "a" / "b") as store:
        written = store.write([event(number=1), event(number=2)])
    with everlog.open(str(tmp_path / "a" / "b")) as store:
        assert list(store.read("/", recursive=True, verify=True)) == written
        assert store.write([event()])[0].id == "2"


def test_a_directory_that_is_open_is_locked(tmp_path: Path) -> None:
    with (
        everlog.open(tmp_path),
        pytest.raises(everlog.DirectoryLockedError, match="in use by another process"),
    ):
        everlog.open(tmp_path)
    everlog.open(tmp_path).close()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no directory")
    with pytest.raises(everlog.DataDirectoryError):
        everlog.open(file)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("not ours")
    with pytest.raises(everlog.DataDirectoryError):
        everlog.open(tmp_path / "foreign")


def test_what_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with everlog.open(tmp_path):
        for _ in range(3):
            with pytest.raises(everlog.DirectoryLockedError):
                everlog.open(tmp_path)
    assert threading.active_count() == before


def test_closing_leaves_neither_threads_nor_files(tmp_path: Path) -> None:
    everlog.open(tmp_path / "first").close()
    gc.collect()
    threads, files = threading.active_count(), open_files()
    for number in range(3):
        with everlog.open(tmp_path / str(number)) as store:
            store.write([event(number=each) for each in range(100)])
            next(iter(store.read("/", recursive=True)))
            next(iter(store.query("FROM e IN events PROJECT INTO e")))
    assert threading.active_count() == threads
    assert open_files() == files


@pytest.mark.slow
def test_a_query_of_a_process_is_left_half_read_and_nothing_stays(tmp_path: Path) -> None:
    said = run_python(
        "import everlog, os, sys\n"
        "store = everlog.open(sys.argv[1])\n"
        "data = {'text': 'x' * 100}\n"
        "for turn in range(6):\n"
        "    event = everlog.NewEvent('https://a', '/b', 'com.example.c', data)\n"
        "    store.write([event] * 10_000)\n"
        "rows = iter(store.query('FROM e IN events PROJECT INTO e'))\n"
        "next(rows)\n"
        "store.close()\n"
        "import psutil\n"
        "print(psutil.Process().children())\n",
        str(tmp_path),
    )
    assert said == "[]\n"


def open_files() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_a_store_that_is_forgotten_is_closed_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(ResourceWarning, match="unclosed <everlog.Store"):
        everlog.open(tmp_path)
    everlog.open(tmp_path).close()


def test_a_program_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    run_python(
        "import everlog, sys\n"
        "store = everlog.open(sys.argv[1])\n"
        "store.write([everlog.NewEvent('https://a', '/b', 'com.example.c', {})])\n"
        "following = store.follow(after='0')\n"
        "import threading\n"
        "threading.Thread(target=lambda: next(following), daemon=True).start()\n"
        "rows = iter(store.query('FROM e IN events PROJECT INTO e'))\n"
        "next(rows)\n",
        str(tmp_path),
    )
    with everlog.open(tmp_path) as store:
        assert len(list(store.read("/b"))) == 1


def test_a_program_that_is_killed_loses_nothing_that_was_written(tmp_path: Path) -> None:
    text = (
        "import everlog, sys\n"
        "store = everlog.open(sys.argv[1])\n"
        "for number in range(1000):\n"
        "    store.write([everlog.NewEvent('https://a', '/b', 'com.example.c', {})])\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    with process.stdout as lines:
        for _ in range(20):
            last = int(lines.readline())
        process.kill()
        last = max([last, *map(int, lines.read().split(b"\n")[:-1])])
    assert process.wait(60) == -signal.SIGKILL
    with everlog.open(tmp_path) as store:
        assert len(list(store.read("/b", verify=True))) >= last + 1


def test_a_process_that_was_forked_neither_uses_nor_keeps_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # Python 3.12 warns of forking a process that has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        said = run_python(
            "import everlog, os, sys, time\n"
            "store = everlog.open(sys.argv[1])\n"
            "ready, go_on = os.pipe(), os.pipe()\n"
            "import warnings\n"
            "warnings.simplefilter('ignore')\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    try:\n"
            "        store.ping()\n"
            "    except everlog.StoreClosedError as error:\n"
            "        os.write(ready[1], b'x' if 'forked' in str(error) else b'-')\n"
            "    store.close()\n"
            "    os.read(go_on[0], 1)\n"
            "    os._exit(0)\n"
            "assert os.read(ready[0], 1) == b'x'\n"
            "store.ping()\n"
            "store.close()\n"
            "everlog.open(sys.argv[1]).close()\n"
            "os.write(go_on[1], b'x')\n"
            "os.waitpid(child, 0)\n"
            "print('done')\n",
            str(tmp_path),
        )
    assert said == "done\n"


def test_it_catches_no_signal_and_says_nothing(tmp_path: Path) -> None:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    said = run_python(
        "import everlog, sys\n"
        "with everlog.open(sys.argv[1]) as store:\n"
        "    store.write([everlog.NewEvent('https://a', '/b', 'com.example.c', {})])\n"
        "    list(store.query('FROM e IN events PROJECT INTO e'))\n",
        str(tmp_path / "quiet"),
    )
    assert said == ""
    with everlog.open(tmp_path / "here") as store:
        store.write([event()])
        assert {each: signal.getsignal(each) for each in handlers} == handlers


def test_python_without_assertions_is_refused(tmp_path: Path) -> None:
    said = run_python(
        "import everlog, sys\n"
        "try:\n"
        "    everlog.open(sys.argv[1])\n"
        "except everlog.SettingsError as error:\n"
        "    print(error)\n",
        str(tmp_path),
        options=("-O",),
    )
    assert "python -O" in said


def test_importing_it_loads_next_to_nothing() -> None:
    loaded = run_python(
        "import everlog, sys\n"
        "print(sorted(name for name in sys.modules if name.startswith('everlog')))\n"
        "everlog.connect\n"
        "heavy = {'numpy', 'asyncio', 'cryptography', 'uvloop', 'everlog.service', 'click'}\n"
        "print(sorted(heavy & {*sys.modules}))\n"
    )
    assert loaded == "['everlog', 'everlog._version']\n[]\n"


def test_every_public_name_is_there() -> None:
    for name in everlog.__all__:
        assert getattr(everlog, name) is not None
    assert {*everlog.__all__} <= {*dir(everlog)}
    assert not hasattr(everlog, "none")


def test_events_are_signed_with_a_key_and_verified_with_its_other_half(tmp_path: Path) -> None:
    signing, verification = tmp_path / "signing.pem", tmp_path / "verification.pem"
    public = write_signing_key(signing)
    verification.write_bytes(to_pem(public))
    data = tmp_path / "data"
    with everlog.open(data, signing_key_file=signing, verification_key_file=verification) as store:
        [written] = store.write([event()])
        assert written.signature is not None
        assert written.signature.startswith("esdb:signature:v1:")
        assert list(store.read("/books/42", verify=True)) == [written]
    with everlog.open(data, verification_key_file=verification) as store:
        assert next(iter(store.read("/books/42"))).signature is None
        with pytest.raises(everlog.VerificationError, match="its signature is missing"):
            list(store.read("/books/42", verify=True))
    with pytest.raises(everlog.SettingsError, match="verification_key_file"):
        everlog.open(data, verification_key_file=signing)


def to_pem(key: Any) -> bytes:
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_hashes_of_version_2_cover_the_trace(tmp_path: Path) -> None:
    with everlog.open(tmp_path, hash_version=2) as store:
        trace = "00-10000000000000000000000000000000-2000000000000000-00"
        [written] = store.write([NewEvent("https://a", "/b", "com.example.c", {}, trace)])
        assert written.hash.startswith("esdb:hash:v2:")
        assert list(store.read("/b", verify=True)) == [written]


def test_reading_goes_on_while_a_store_is_closed_by_another_thread(tmp_path: Path) -> None:
    store = everlog.open(tmp_path)
    for _ in range(10):
        store.write([event(text="x" * 1_000) for _ in range(1_000)])
    failures: list[BaseException] = []
    begun = threading.Barrier(4)

    def read() -> None:
        is_begun = False
        try:
            while True:
                for each in store.read("/", recursive=True):
                    if not is_begun:
                        is_begun = True
                        begun.wait(60)
                    assert each.type == "com.example.book-acquired"
        except everlog.StoreClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    begun.wait(60)
    store.close()
    for reader in readers:
        reader.join(60)
    assert failures == []

"""`everlog journal`: what is done from outside to a journal that nodes share."""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click
import msgspec

from everlog.cli.backing_up.summary import FileDigest, Summary, render_json, render_text
from everlog.cli.progress import Progress, describe_events
from everlog.cli.restore import restore_files
from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    DiskFullError,
    JournalUnreachableError,
    RefusedError,
    SettingsError,
    StoreFailedError,
)
from everlog.exit_codes import (
    EXIT_DAMAGED,
    EXIT_DATA_DIRECTORY,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SERVER,
    EXIT_SETTINGS,
    EXIT_UNEXPECTED,
)
from everlog.texts import to_printable
from everlog.transfer.contents import Place

if TYPE_CHECKING:
    from everlog.service.mirroring.journal import SharedJournal
    from everlog.service.mirroring.loading import Standing
    from everlog.storage.log import ReadOnlyLog

_Result = TypeVar("_Result")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_INTERRUPTED: Final = "interrupted; the same command goes on from here"

# Who runs says so every five seconds.
_SPEAKS_SECONDS: Final = 8.0

# Click does not fill a paragraph that begins with this character.
_LOAD_HELP: Final = """Take a data directory, or a backup, into an empty journal.

SOURCE is a data directory, or a backup as 'everlog backup' or EventSourcingDB writes it, compressed
with zstd or not, or - for standard input. Several files are a full backup and its increments, in
their order; a backup is restored into a temporary folder first (below TMPDIR, which needs room for
all of it). Everything is checked before anything is appended: ids, the chain and every hash.

Load before nodes run: they show what is there already. A load that was interrupted goes on when it
is done again, with the same source or with one that has become longer; what the journal has is
compared with it. So a server may still write to a data directory while it is loaded: stop it then,
and load once more, which takes what has come since.

\b
Examples:
  everlog journal load --journal postgresql://everlog@db.example/everlog /var/lib/everlog
  everlog journal load --journal nats://n1,n2,n3/everlog monday.ndjson.zst tuesday.ndjson.zst

\b
Exit codes:
  0  all of it is in the journal; the last line says what it is
  1  anything unexpected; also a file that cannot be read, or a disk that is full
  2  a flag is wrong or missing, or the journal cannot keep what nodes promise
  3  the source cannot be used, or the journal holds something else
  4  the source is not whole, or not as it was written; the message says where
  8  the journal cannot be reached, or does not answer any more
"""


@click.group()
def journal() -> None:
    """Fill or check a journal that nodes share."""


_FILE: Final = click.Path(path_type=Path, readable=False)

_JOURNAL_OPTIONS: Final = (
    click.option(
        "--journal",
        "url",
        required=True,
        envvar="EVERLOG_JOURNAL",
        show_envvar=True,
        metavar="URL",
        help="The journal: postgresql://HOST/DATABASE, or nats://HOST,HOST,HOST/STREAM.",
    ),
    click.option(
        "--journal-password-file",
        "password_file",
        type=_FILE,
        envvar="EVERLOG_JOURNAL_PASSWORD_FILE",
        show_envvar=True,
        help="A file whose first line is the password.",
    ),
    click.option(
        "--journal-ca-file",
        "ca_file",
        type=_FILE,
        envvar="EVERLOG_JOURNAL_CA_FILE",
        show_envvar=True,
        help="The certificates of whoever vouches for the journal's servers, PEM.",
    ),
    click.option(
        "--journal-credentials-file",
        "credentials_file",
        type=_FILE,
        envvar="EVERLOG_JOURNAL_CREDENTIALS_FILE",
        show_envvar=True,
        help="The credentials of a NATS user (.creds).",
    ),
    click.option(
        "--journal-replicas",
        "replicas",
        type=click.Choice(["1", "3", "5"]),
        default="3",
        show_default=True,
        envvar="EVERLOG_JOURNAL_REPLICAS",
        show_envvar=True,
        help="On how many NATS servers each entry of the journal is.",
    ),
    click.option(
        "--format",
        "format_",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How the last line says what there is; json is for programs.",
    ),
)


def _with_journal_options(command: _Command) -> _Command:
    for option in reversed(_JOURNAL_OPTIONS):
        command = option(command)
    return command


_CHECK_HELP: Final = """Say what a journal is, what it has, and which nodes use it.

Nothing is changed. What is wrong between nodes is said: other keys, hash versions or formats, and
clocks that are more than a second off.

\b
Examples:
  everlog journal check --journal postgresql://everlog@db.example/everlog
  everlog journal check --journal nats://n1,n2/everlog --journal-credentials-file node.creds

\b
Exit codes:
  0  the journal can be used; the last line says what it has
  1  anything unexpected
  2  a flag is wrong or missing, or the journal cannot keep what nodes promise
  3  what stands in it was written by another version, or by somebody else
  4  nodes that use it do not fit together
  8  the journal cannot be reached
"""


@journal.command(help=_CHECK_HELP)
@_with_journal_options
def check(format_: str, **address: Any) -> None:
    """Look at a journal, and say what was found."""
    progress = Progress()
    with _told(progress):
        identity, found = _with_journal(address, _look)
    if format_ == "json":
        payload = {"journal": identity, **asdict(found)}
        click.echo(msgspec.json.encode({"type": "summary", "payload": payload}).decode())
    else:
        for line in _describe_journal(identity, found):
            click.echo(to_printable(line))
    sys.exit(EXIT_DAMAGED if found.mismatches else EXIT_OK)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found in a journal; with the words of JSON."""

    eventCount: int  # noqa: N815 - as programs read it.
    lastEventHash: str | None  # noqa: N815 - as programs read it.
    nodes: list[dict[str, object]]
    mismatches: list[str]
    remarks: list[str]


async def _look(journal: "SharedJournal") -> _Found:
    from everlog.service.mirroring.loading import find_last
    from everlog.service.mirroring.neighbours import find_mismatches, look_for_nodes

    last = await find_last(journal)
    nodes = await look_for_nodes(journal)
    shown = [
        {"name": said.node, "version": said.version, "secondsAgo": round(age, 1)}
        for said, _, age in nodes
    ]
    return _Found(
        0 if last is None else last.entry.end,
        None if last is None else last.entry.hash,
        shown,
        find_mismatches(nodes[0].announcement, nodes) if nodes else [],
        list(journal.remarks),
    )


def _describe_journal(identity: str, found: _Found) -> Iterator[str]:
    for remark in found.remarks:
        yield f"the journal promises less than it could: {remark}"
    for node in found.nodes:
        yield f"node {node['name']}: version {node['version']}, {node['secondsAgo']} s ago"
    for mismatch in found.mismatches:
        yield f"wrong: {mismatch}"
    events = f"{found.eventCount:,} events"
    if found.lastEventHash is not None:
        events += f", to {found.eventCount - 1} ({found.lastEventHash})"
    yield f"journal {identity}: {events}"


@journal.command(help=_LOAD_HELP)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@_with_journal_options
def load(sources: tuple[str, ...], format_: str, **address: Any) -> None:
    """Load a source, and say what the journal has then."""
    progress = Progress()
    with _told(progress):
        _check_sources(sources)
        loaded = _load(sources, address, progress)
    progress.clear()
    _print(loaded, format_)
    if loaded.is_served:
        click.echo(
            f"A server has {sources[0]} open. What it writes from now on is not in the journal: "
            "stop it, and load once more.",
            err=True,
        )


@contextmanager
def _told(progress: Progress) -> Iterator[None]:
    """Say what went wrong, and end with its code."""
    from everlog.service.mirroring.loading import EntryTooLargeError, OtherContentError

    try:
        yield
    except SettingsError as error:
        _end(progress, str(error), EXIT_SETTINGS)
    except OtherContentError as error:
        message = f"the journal is not empty, nor the beginning of what is to be loaded: {error}"
        _end(progress, message, EXIT_DATA_DIRECTORY)
    except EntryTooLargeError as error:
        _end(progress, str(error), EXIT_DATA_DIRECTORY)
    except (RefusedError, CorruptLogError) as error:
        _end(progress, str(error), EXIT_DAMAGED)
    except DataDirectoryError as error:
        _end(progress, str(error), EXIT_DATA_DIRECTORY)
    except JournalUnreachableError as error:
        _end(progress, f"the journal cannot be reached: {error.reason}", EXIT_SERVER)
    except (DiskFullError, StoreFailedError, OSError) as error:
        _end(progress, str(error), EXIT_UNEXPECTED)
    except KeyboardInterrupt:
        _end(progress, _INTERRUPTED, EXIT_INTERRUPTED)


def _check_sources(sources: tuple[str, ...]) -> None:
    directories = [source for source in sources if Path(source).is_dir()]
    if directories and len(sources) > 1:
        raise click.UsageError(f"{directories[0]} is a directory, which is loaded by itself")


class _Loaded:
    """What a journal has, and how it came."""

    def __init__(
        self, identity: str, summary: Summary, before: "Standing", *, is_served: bool
    ) -> None:
        self.identity: Final = identity
        self.summary: Final = summary
        self.before: Final = before
        self.is_served: Final = is_served


def _load(sources: tuple[str, ...], address: dict[str, Any], progress: Progress) -> _Loaded:
    from everlog.service.mirroring.loading import append_log, find_standing, verify_log
    from everlog.service.mirroring.neighbours import look_for_nodes

    async def connect(journal: "SharedJournal") -> int:
        for said, _, age in await look_for_nodes(journal):
            if age < _SPEAKS_SECONDS:
                progress.clear()
                click.echo(f"The node {said.node} runs, and shows what is there already.", err=True)
        return journal.entry_size_max

    # Whoever cannot be reached is known before anything long begins.
    identity, entry_size_max = _with_journal(address, connect)
    with _opened(sources, progress) as (log, files):
        _, before = _with_journal(address, partial(find_standing, log=log))
        total = log.head.event_count
        described = partial(_describe, progress, total)
        verify_log(log, entry_size_max=entry_size_max, on_event=partial(described, "checked"))
        _with_journal(
            address,
            partial(append_log, log=log, standing=before, on_appended=partial(described, "loaded")),
        )
        summary = _summarize(identity, log, files)
        return _Loaded(identity, summary, before, is_served=not files and log.is_served())


def _with_journal(
    address: dict[str, Any], work: "Callable[[SharedJournal], Awaitable[_Result]]"
) -> tuple[str, _Result]:
    """Do something with the journal, and return its identity, too."""
    return asyncio.run(_use_journal(address, work))


async def _use_journal(
    address: dict[str, Any], work: "Callable[[SharedJournal], Awaitable[_Result]]"
) -> tuple[str, _Result]:
    from everlog.journals import JournalOptions, make_journal

    shared = make_journal(JournalOptions(**{**address, "replicas": int(address["replicas"])}))
    try:
        identity = await shared.open()
        return identity, await work(shared)
    finally:
        await shared.close()


@contextmanager
def _opened(
    sources: tuple[str, ...], progress: Progress
) -> "Iterator[tuple[ReadOnlyLog, list[FileDigest]]]":
    """Open a data directory, or one that a backup is restored into for the time being."""
    if Path(sources[0]).is_dir():
        with _opened_directory(Path(sources[0])) as log:
            yield log, []
        return
    with tempfile.TemporaryDirectory(prefix="everlog-load-") as folder:
        directory = Path(folder, "data")
        _, files = restore_files(sources, directory, progress)
        with _opened_directory(directory) as log:
            yield log, files


def _opened_directory(directory: Path) -> "ReadOnlyLog":
    from everlog.storage.log import ReadOnlyLog

    try:
        return ReadOnlyLog.open(directory)
    except OSError as error:
        raise DataDirectoryError(f"{directory} cannot be read: {error.strerror}") from error


def _describe(progress: Progress, total: int, what: str, done: int) -> None:
    progress.tell(lambda seconds: f"{what}: {describe_events(done, total, seconds)}")


def _summarize(identity: str, log: "ReadOnlyLog", files: list[FileDigest]) -> Summary:
    from everlog.storage.engine import Scan
    from everlog.storage.line import parse_line

    def place(position: int) -> Place:
        scan = Scan(start=position, stop=position + 1)
        event, _ = parse_line(b"".join(log.scan(scan, log.head)))
        return Place(event.id, event.hash)

    count = log.head.event_count
    schemas = (found.schema for chunk in log.event_types(log.head) for found in chunk)
    return Summary(
        f"journal {identity}",
        count,
        sum(schema is not None for schema in schemas),
        place(0) if count else None,
        place(count - 1) if count else None,
        files,
    )


def _print(loaded: _Loaded, form: str) -> None:
    before = loaded.before.event_count
    if form == "json":
        click.echo(render_json(loaded.summary, journal=loaded.identity, eventCountBefore=before))
        return
    if not loaded.before.is_empty:
        click.echo(f"{before:,} of the events were in the journal before")
    click.echo(render_text(loaded.summary))


def _end(progress: Progress, message: str, code: int) -> NoReturn:
    """Say what went wrong, and end."""
    progress.clear()
    click.echo(f"Error: {to_printable(message)}", err=True)
    sys.exit(code)

"""`everlog restore`: a data directory made of a backup, all of it at once or nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click
from click.core import ParameterSource

from everlog.cli.backing_up.files import STANDARD_STREAM, BackupFile
from everlog.cli.backing_up.summary import FileDigest, Summary, render_json, render_text
from everlog.cli.progress import Progress
from everlog.cli.stores import FILE, StoreChoice, choose_store, server_options
from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    BusyError,
    Code,
    CorruptLogError,
    DataDirectoryError,
    DiskFullError,
    RefusedError,
    StoreFailedError,
)
from everlog.exit_codes import (
    EXIT_DAMAGED,
    EXIT_DATA_DIRECTORY,
    EXIT_INTERRUPTED,
    EXIT_SERVER,
    EXIT_UNEXPECTED,
)
from everlog.library.errors import UnauthorizedError, UnreachableError
from everlog.texts import to_printable
from everlog.transfer.chaining import Change, Rechained
from everlog.transfer.contents import Place

if TYPE_CHECKING:
    from everlog.transfer.restoring import Restored

# Click does not fill a paragraph that begins with this character.
_HELP: Final = """Make a store of a backup.

It is made in DIRECTORY or --data-directory, which is new, or has an empty store; or on the server
of --url, whose store is empty. FILE is a backup as 'everlog backup' or
EventSourcingDB writes it, compressed with zstd or not, or - for standard input. Several files are a
full backup and its increments, in their order. All of it is checked: ids, the chain and every hash,
times, names, sizes, and that events match their schemas. Until everything is there, nothing is; a
restore that is interrupted leaves the store empty.

\b
Examples:
  everlog restore monday.ndjson.zst /var/lib/everlog
  everlog restore monday.ndjson tuesday.ndjson wednesday.ndjson /var/lib/everlog
  everlog restore --rechain filtered.ndjson /var/lib/everlog
  everlog restore monday.ndjson.zst --url https://localhost:4000
  everlog backup --url $OLD --output - | everlog restore - --url $NEW
  ssh backup.example cat everlog.ndjson | everlog restore - /var/lib/everlog

\b
Exit codes:
  0  everything is there; the last line says what it is
  1  anything unexpected; also a file that cannot be read, or a disk that is full
  2  a flag is wrong or missing
  3  the directory cannot be used, or its store is not empty
  4  the backup is not whole, or not as it was written; the message says where
  8  the server cannot be asked, or refuses the token
"""


@click.command(help=_HELP)
@click.argument("names", metavar="FILE... [DIRECTORY]", nargs=-1, required=True)
@click.option(
    "--rechain",
    is_flag=True,
    help="Take events that were filtered or changed: give them new ids and hashes, and say which.",
)
@click.option(
    "--hash-version",
    type=click.Choice(["1", "2"]),
    default="1",
    show_default=True,
    help="With --rechain: the version of the hash of events that have none.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the last line says what was restored; json is for programs.",
)
@server_options
@click.option("--data-directory", type=FILE, help="The directory, instead of the last argument.")
@click.pass_context
def restore(
    context: click.Context,
    names: tuple[str, ...],
    url: str | None,
    api_token_file: Path | None,
    ca_file: Path | None,
    data_directory: Path | None,
    rechain: bool,  # noqa: FBT001 - click calls this with keywords.
    hash_version: str,
    format_: str,
) -> None:
    """Restore a backup, and say what it was."""
    # Where a backup goes, variables do not say: it is said anew each time.
    is_server = context.get_parameter_source("url") is ParameterSource.COMMANDLINE
    if is_server and data_directory is not None:
        raise click.UsageError("--url and --data-directory exclude each other")
    if not is_server and data_directory is None:
        *files, last = names
        if not files:
            raise click.UsageError("say where it is made: a DIRECTORY behind the files, or --url")
        names, data_directory = tuple(files), Path(last)
    progress = Progress()
    with _told(progress):
        if data_directory is not None:
            version = HashVersion(int(hash_version))
            restored, digests = restore_files(
                names, data_directory, progress, rechain=rechain, hash_version=version
            )
            progress.clear()
            _print(data_directory, restored, digests, format_)
            return
        server = choose_store(
            given=frozenset({"url"}),
            url=url,
            data_directory=None,
            token_file=api_token_file,
            ca_file=ca_file,
            context_file=None,
        )
        summary = _restore_on_server(server, names, progress, rechain=rechain)
    progress.clear()
    click.echo(render_json(summary) if format_ == "json" else render_text(summary))


@contextmanager
def _told(progress: Progress) -> Iterator[None]:
    """End the command with a message and a code, if the block ends with an error."""
    try:
        yield
    except RefusedError as error:
        is_backup = error.code != Code.STORE_NOT_EMPTY
        _end(progress, error.message, EXIT_DAMAGED if is_backup else EXIT_DATA_DIRECTORY)
    except CorruptLogError as error:
        _end(progress, str(error), EXIT_DAMAGED)
    except DataDirectoryError as error:
        _end(progress, str(error), EXIT_DATA_DIRECTORY)
    except (UnreachableError, UnauthorizedError, BusyError) as error:
        _end(progress, str(error), EXIT_SERVER)
    except (DiskFullError, StoreFailedError, OSError) as error:
        _end(progress, str(error), EXIT_UNEXPECTED)
    except KeyboardInterrupt:
        _end(progress, "interrupted; nothing was restored", EXIT_INTERRUPTED)


def _restore_on_server(
    server: StoreChoice, names: tuple[str, ...], progress: Progress, *, rechain: bool
) -> Summary:
    """Send files to a server whose store is empty, and return what it has made of them."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        progress.tell(partial(_describe_sent, done, total))

    files = [BackupFile(name, count) for name in names]
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    with server.open() as store:
        if next(store.subjects("/"), None) is not None:
            # Before anything is sent.
            message = f"the store of {server.name} is not empty: only an empty one can be filled"
            raise RefusedError(Code.STORE_NOT_EMPTY, message)
    # With what asking a server takes.
    from everlog.cli.server import restore_on

    found = restore_on(server, (piece for file in files for piece in file.read()), rechain=rechain)
    return Summary(
        server.name,
        found.event_count,
        found.schema_count,
        None,
        _place(found.latest_event_id, found.latest_event_hash),
        [FileDigest(file.name, file.sha256) for file in files],
    )


def _describe_sent(done: int, total: int | None, seconds: float) -> str:
    share = "" if not total else f"{min(1.0, done / total):.0%} of {total:,} bytes, "
    return f"{share}{done:,} bytes sent, {done / max(seconds, 1e-9):,.0f} bytes/s"


def restore_files(
    names: tuple[str, ...],
    directory: Path,
    progress: Progress,
    *,
    rechain: bool = False,
    hash_version: HashVersion = HashVersion.V1,
) -> "tuple[Restored, list[FileDigest]]":
    """Make a store of a full backup and its increments, in files or standard input.

    Raises:
        RefusedError: The directory is not empty, or a backup is not as it was written.
        CorruptLogError, DataDirectoryError, DiskFullError, StoreFailedError, OSError: The directory
            cannot be used, or a file cannot be read.
    """
    # With what writing a store takes.
    from everlog.transfer.restoring import Restoring, empty_store

    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size

    files = [BackupFile(name, count) for name in names]
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    with (
        empty_store(directory),
        Restoring(directory, rechain=rechain, hash_version=hash_version) as restoring,
    ):
        for file in files:
            try:
                for piece in file.read():
                    restoring.feed(piece)
                    progress.tell(partial(_describe, restoring.event_count, done, total))
                restoring.end_file()
            except RefusedError as error:
                name = "standard input" if file.name == STANDARD_STREAM else file.name
                raise RefusedError(
                    error.code, f"{name}: {error.message}", **error.details
                ) from error
        if done == 0:
            # Whatever was to make it has failed, most likely.
            message = "the backup is incomplete: there is not one byte of it"
            raise RefusedError(Code.BACKUP_INCOMPLETE, message)
        restored = restoring.finish()
    return restored, [FileDigest(file.name, file.sha256) for file in files]


def _describe(event_count: int, done: int, total: int | None, seconds: float) -> str:
    """Return how far it is, how much that is, and how fast it is."""
    share = "" if not total else f"{min(1.0, done / total):.0%} of {total:,} bytes, "
    return f"{share}{event_count:,} events, {event_count / max(seconds, 1e-9):,.0f} events/s"


def _print(directory: Path, restored: "Restored", files: list[FileDigest], form: str) -> None:
    summary = Summary(
        str(directory),
        restored.event_count,
        restored.schema_count,
        _place(restored.first_id, restored.first_hash),
        _place(restored.last_id, restored.last_hash),
        files,
    )
    rechained = restored.rechained
    if form == "json":
        click.echo(render_json(summary, rechained=_to_json(rechained)))
        return
    if rechained is not None:
        for line in _describe_changes(rechained):
            click.echo(line)
    click.echo(render_text(summary))


def _place(id_: str | None, hash_: str | None) -> Place | None:
    return None if id_ is None or hash_ is None else Place(id_, hash_)


def _describe_changes(rechained: Rechained) -> list[str]:
    first_id, first_hash = rechained.first_changed_id, rechained.first_changed_hash
    ids = f"new ids: {rechained.changed_id_count:,}"
    if first_id is not None:
        ids += f", the first is {first_id.new_id}, which was {first_id.old_id or 'none'}"
    hashes = f"new hashes: {rechained.changed_hash_count:,}"
    if first_hash is not None:
        old = first_hash.old_hash or "none"
        hashes += f", the first is that of event {first_hash.new_id}: {first_hash.new_hash}, "
        hashes += f"which was {old}"
    return [to_printable(ids), to_printable(hashes)]


def _to_json(rechained: Rechained | None) -> object:
    if rechained is None:
        return None
    return {
        "changedIdCount": rechained.changed_id_count,
        "changedHashCount": rechained.changed_hash_count,
        "firstChangedId": _change_to_json(rechained.first_changed_id),
        "firstChangedHash": _change_to_json(rechained.first_changed_hash),
    }


def _change_to_json(change: Change | None) -> object:
    if change is None:
        return None
    return {
        "oldId": change.old_id,
        "newId": change.new_id,
        "oldHash": change.old_hash,
        "newHash": change.new_hash,
    }


def _end(progress: Progress, message: str, code: int) -> NoReturn:
    """Say what went wrong, and end."""
    progress.clear()
    click.echo(f"Error: {to_printable(message)}", err=True)
    sys.exit(code)

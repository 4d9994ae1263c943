"""`everlog`: the list of commands, each of which is imported when it is called.

A server takes long to import, and most commands need none of it.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from everlog.exit_codes import EXIT_INTERRUPTED, EXIT_OUTPUT_CLOSED, EXIT_UNEXPECTED
from everlog.process import (
    end_when_interrupted,
    give_up_output,
    let_interrupt,
)
from everlog.texts import to_printable

_EPILOG: Final = """
\b
A server to try things out on this machine, its data gone at the end:
  everlog generate api-token > token
  everlog run --host 127.0.0.1 --http-enabled --https-enabled=false
    --api-token-file token --data-directory-temporary

\b
Commands that work with it, from another terminal in the same folder:
  export EVERLOG_URL=http://127.0.0.1:3000 EVERLOG_API_TOKEN_FILE=token
  everlog write --subject /books/42 --type com.example.book-acquired
    --source https://library.example --data '{"title": "Moby Dick"}'
  everlog read / --recursive

\b
A server that lasts:
  everlog run --data-directory /var/lib/everlog --api-token-file token
    --https-certificate-file tls.crt --https-private-key-file tls.key
"""


class Listed(NamedTuple):
    """A command as the list shows it, without having been imported."""

    # The first sentence of its help.
    short_help: str
    load: Callable[[], click.Command]


def _audit() -> click.Command:
    from everlog.cli.audit import audit

    return audit


def _backup() -> click.Command:
    from everlog.cli.backup import backup

    return backup


def _completion() -> click.Command:
    from everlog.cli.completion import completion

    return completion


def _diagnostics() -> click.Command:
    from everlog.cli.diagnostics import diagnostics

    return diagnostics


def _export() -> click.Command:
    from everlog.cli.export import export

    return export


def _generate() -> click.Command:
    from everlog.cli.generate import generate

    return generate


def _health() -> click.Command:
    from everlog.cli.listing import health

    return health


def _import() -> click.Command:
    from everlog.cli.importing import import_

    return import_


def _journal() -> click.Command:
    from everlog.cli.journal import journal

    return journal


def _mcp() -> click.Command:
    from everlog.cli.mcp import mcp

    return mcp


def _observe() -> click.Command:
    from everlog.cli.read import observe

    return observe


def _query() -> click.Command:
    from everlog.cli.query import query

    return query


def _read() -> click.Command:
    from everlog.cli.read import read

    return read


def _restore() -> click.Command:
    from everlog.cli.restore import restore

    return restore


def _run() -> click.Command:
    from everlog.cli.run import run

    return run


def _subjects() -> click.Command:
    from everlog.cli.listing import subjects

    return subjects


def _types() -> click.Command:
    from everlog.cli.listing import types

    return types


def _verify() -> click.Command:
    from everlog.cli.verify import verify

    return verify


def _version() -> click.Command:
    from everlog.cli.version import version

    return version


def _write() -> click.Command:
    from everlog.cli.write import write

    return write


COMMANDS: Final[Mapping[str, Listed]] = {
    "audit": Listed("Tell what in a data directory is not as it was written.", _audit),
    "backup": Listed("Write all events and event schemas to a file.", _backup),
    "completion": Listed("Print what makes a shell complete commands.", _completion),
    "diagnostics": Listed("Print version, system and licence as JSON.", _diagnostics),
    "export": Listed("Write events, or the rows of a query, to a file.", _export),
    "generate": Listed("Make tokens, keys and certificates.", _generate),
    "health": Listed("Tell how well a store is.", _health),
    "import": Listed("Write the events of files as new events.", _import),
    "journal": Listed("Fill or check a journal that nodes share.", _journal),
    "mcp": Listed("Offer a store as tools to language models (MCP).", _mcp),
    "observe": Listed("Show the events of a subject, and those to come.", _observe),
    "query": Listed("Ask a question in EventQL, and print its rows.", _query),
    "read": Listed("Read the events of a subject.", _read),
    "restore": Listed("Make a store of a backup.", _restore),
    "run": Listed("Run the server.", _run),
    "subjects": Listed("List the subjects that there are.", _subjects),
    "types": Listed("List the event types that there are.", _types),
    "verify": Listed("Show offline that an event is in a log, or that a log only grew.", _verify),
    "version": Listed("Print the version.", _version),
    "write": Listed("Write events.", _write),
}


class _Commands(click.Group):
    """The commands of the table; the list of them is the table's too."""

    def list_commands(self, _: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        listed = COMMANDS.get(name)
        if listed is None:
            return None
        command = listed.load()
        if name != "run":
            # Until here it ended without a word; now it may have something to clean up.
            let_interrupt()
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one may be meant."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not close:
                raise
            text = f"{error.message} Did you mean '{close[0]}'?"
            raise click.UsageError(text, context) from error

    def shell_complete(self, _: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin like this, without importing any."""
        return [
            CompletionItem(name, help=listed.short_help)
            for name, listed in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def invoke(self, context: click.Context) -> object:
        """Run a command, whose output somebody may stop reading."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            give_up_output()
            context.exit(EXIT_OUTPUT_CLOSED)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.short_help) for name, listed in COMMANDS.items()])


def _print_version(context: click.Context, _: click.Parameter, value: object) -> None:
    if value and not context.resilient_parsing:
        context.invoke(_version())
        context.exit()


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["--help", "-h"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Everlog is an event store: an append-only, hash-chained log of CloudEvents.

    Its HTTP API is that of EventSourcingDB, versions 1 and 2, so that all client SDKs work with it.
    """


def main() -> None:
    """Run the command line."""
    if not __debug__:
        # Assertions are part of how a database trusts itself.
        click.echo("Error: Everlog does not run under python -O", err=True)
        sys.exit(2)
    try:
        code = _run_command()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # Click has ended the line on which a terminal shows ^C.
        code = EXIT_INTERRUPTED
    except OSError as error:
        code = _end_without_output(error)
    sys.exit(code)


def _run_command() -> Any:
    """Run what the command line says, and let nothing be interrupted that comes behind it."""
    try:
        # By name also where a module was run: click would say `python -m everlog`.
        return cli.main(prog_name="everlog", standalone_mode=False)
    finally:
        end_when_interrupted()


def _end_without_output(error: OSError) -> int:
    """Say what the system refused, and keep Python from trying once more at the end."""
    with suppress(OSError):
        click.echo(f"Error: {to_printable(str(error))}", err=True)
    give_up_output()
    return EXIT_UNEXPECTED

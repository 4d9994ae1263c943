"""`everlog`: the list of commands."""

import sys

import click

from everlog.cli.audit import audit
from everlog.cli.diagnostics import diagnostics
from everlog.cli.generate import generate
from everlog.cli.query import query
from everlog.cli.run import run
from everlog.cli.version import version

_EPILOG = """
\b
A server to try things out, its data gone at the end:
  everlog run --api-token secret --data-directory-temporary --http-enabled --https-enabled=false

\b
A server that lasts:
  everlog run --data-directory /var/lib/everlog
    --https-certificate-file tls.crt --https-private-key-file tls.key
  with the token in the environment variable EVERLOG_API_TOKEN
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["--help", "-h"]})
def cli() -> None:
    """Everlog is an event store: an append-only, hash-chained log of CloudEvents.

    Its HTTP API is that of EventSourcingDB, versions 1 and 2, so that all client SDKs work with it.
    """


cli.add_command(audit)
cli.add_command(diagnostics)
cli.add_command(generate)
cli.add_command(query)
cli.add_command(run)
cli.add_command(version)


def main() -> None:
    """Run the command line."""
    if not __debug__:
        # Assertions are part of how a database trusts itself.
        click.echo("Error: Everlog does not run under python -O", err=True)
        sys.exit(2)
    cli()

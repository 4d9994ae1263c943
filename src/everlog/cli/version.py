"""`everlog version`: which Everlog this is, and whose API it speaks."""

import platform
from typing import Final

import click

from everlog._version import COMPATIBLE_VERSION, __version__

_HELP: Final = """Print the version.

\b
Example:
  everlog version     (everlog --version says the same)
"""


@click.command(help=_HELP)
def version() -> None:
    """Print the version."""
    click.echo(f"Everlog {__version__} (API of EventSourcingDB {COMPATIBLE_VERSION})")
    click.echo(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")

"""`everlog version`: which Everlog this is, and whose API it speaks."""

import platform

import click

from everlog._version import COMPATIBLE_VERSION, __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"Everlog {__version__} (API of EventSourcingDB {COMPATIBLE_VERSION})")
    click.echo(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")

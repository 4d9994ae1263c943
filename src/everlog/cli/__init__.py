"""The command line: one file per command."""

from everlog.cli.main import main

__all__ = ["main"]

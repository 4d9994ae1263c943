"""The command line: one file per command.

`main` has the list of them and imports each when it is called; `connecting` is how commands reach a
server, and `querying` what `query` is made of.
"""

from everlog.cli.main import main

__all__ = ["main"]

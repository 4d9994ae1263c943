"""The command line with a server that has another clock or disk than the system's.

Only for entry points of their own process: what is altered stays so.
"""

import importlib
from functools import partial
from typing import Any

from everlog.cli import main


def run_altered(**options: Any) -> None:
    """Run the command line; the options are those of `everlog.bootstrap.run_server`."""
    command = importlib.import_module("everlog.cli.run")
    vars(command)["run_server"] = partial(vars(command)["run_server"], **options)
    main()

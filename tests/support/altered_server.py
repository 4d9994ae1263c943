"""The command line with a server that has another clock or disk than the system's.

Only for entry points of their own process: what is altered stays so.
"""

from functools import partial
from typing import Any

from everlog import bootstrap
from everlog.__main__ import main
from tests.support import watchdog


def run_altered(**options: Any) -> None:
    """Run the command line; the options are those of `everlog.bootstrap.run_server`."""
    watchdog.install()
    vars(bootstrap)["run_server"] = partial(bootstrap.run_server, **options)
    main()

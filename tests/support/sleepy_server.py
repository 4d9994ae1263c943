"""A server whose event loop is held up by every ping, for so many seconds.

Run as `python -m tests.support.sleepy_server <seconds> run <flags>`.
"""

import sys
import time
from typing import Any

from everlog.http import connection
from tests.support.altered_server import run_altered


def main() -> None:
    seconds, route = float(sys.argv.pop(1)), connection.Connection.data_received

    def sleep_and_route(self: connection.Connection, data: Any) -> None:
        time.sleep(seconds)
        route(self, data)

    vars(connection)["Connection"].data_received = sleep_and_route
    run_altered()


if __name__ == "__main__":
    main()

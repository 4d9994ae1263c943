"""DuckDB in a process of its own, for the peers' environment: SQL comes in, times go out.

One thread, and as polite to other processes as the processes of Everlog's queries are.
The first line that goes out is DuckDB's version. Each line that comes in is a JSON string; the
answer is a line too, how many rows there were and how long it took by the clock and by the
processor.
"""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

# As `everlog.query_worker` has it: of two that scan, none is to go first.
_NICENESS = 10


def main() -> None:
    """Answer until nobody asks."""
    os.nice(_NICENESS)
    # Known in the peers' environment only, and there by no types that a checker here could see.
    duckdb: Any = import_module("duckdb")
    connection = duckdb.connect()
    connection.execute("SET threads=1")
    print(json.dumps(duckdb.__version__), flush=True)
    for line in sys.stdin:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        rows = connection.execute(json.loads(line)).fetchall()
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
        print(json.dumps([len(rows), seconds, cpu_seconds]), flush=True)


if __name__ == "__main__":
    main()

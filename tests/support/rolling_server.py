"""The server whose files change often: segments are small, and snapshots of the index frequent.

Run as `python -m tests.support.rolling_server run <flags>`.
"""

from typing import Final

from everlog.storage.log import LogEngine, engine
from tests.support.altered_server import run_altered

SEGMENT_SIZE: Final = 256 * 1024
SNAPSHOT_EVENTS: Final = 1_000


def main() -> None:
    vars(engine)["_SNAPSHOT_EVENTS"] = SNAPSHOT_EVENTS
    vars(LogEngine)["open"].__func__.__kwdefaults__["segment_size_max"] = SEGMENT_SIZE
    run_altered()


if __name__ == "__main__":
    main()

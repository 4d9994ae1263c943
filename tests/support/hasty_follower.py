"""A follower with a bug made for the purpose: it takes each event for the end of its write.

Run as `python -m tests.support.hasty_follower run <flags>`.
"""

from everlog.domain.event import AcceptedEvent
from everlog.following import writes
from everlog.following.writes import WriteReader
from tests.support.altered_server import run_altered

_add = WriteReader._add


def _add_as_last(self: WriteReader, event: AcceptedEvent, time: int, line: bytes) -> None:
    _add(self, event, time, line.rstrip(b" ") + b" ")


def main() -> None:
    vars(writes)["WriteReader"]._add = _add_as_last
    run_altered()


if __name__ == "__main__":
    main()

"""A follower with a bug made for the purpose: it takes each event for the end of its write.

Run as `python -m tests.support.hasty_follower run <flags>`.
"""

from everlog.following import source
from everlog.following.writes import WriteReader
from tests.support.altered_server import run_altered


class HastyReader(WriteReader):
    """Sees the end of a write at the end of each line."""

    def feed(self, block: bytes) -> None:
        super().feed(block.replace(b"}}\n", b"}} \n"))


def main() -> None:
    vars(source)["WriteReader"] = HastyReader
    run_altered()


if __name__ == "__main__":
    main()

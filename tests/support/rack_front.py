"""A front with a bug: `python -m tests.support.rack_front <bug> <what any front is given>`."""

import sys

from everlog import front_worker
from tests.support.planted_bugs import PLANTED, Bug


def main() -> None:
    PLANTED[Bug(sys.argv.pop(1))]()
    front_worker.main()


if __name__ == "__main__":
    main()

"""`everlog journal load`, which is killed as soon as a journal has taken so many entries.

Run as `python -m tests.support.dying_load ENTRIES journal load ...`.
"""

import os
import signal
import sys
from typing import Any

from everlog.cli.main import main
from everlog.service.mirroring import loading


def die_after(count: int) -> None:
    append = loading._append
    left = count

    async def append_and_die(*arguments: Any, **places: Any) -> int:
        nonlocal left
        place = await append(*arguments, **places)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return place

    vars(loading)["_append"] = append_and_die


if __name__ == "__main__":
    die_after(int(sys.argv.pop(1)))
    main()

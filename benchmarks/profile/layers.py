"""Who is to blame for a sample: pure functions over what the samplers wrote."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# What is left when nobody of Everlog is on the stack but who started the loop.
LOOP = "event loop"

_STARTERS = frozenset({"cli", "bootstrap"})

_frame = re.compile(r"^(?P<function>\S+) \((?P<path>.+?)(?::\d+)?\)$")
_everlog = re.compile(r"(?:^|/)everlog/(?P<path>.+)\.py$")
# Columns are two spaces apart at least; those after the symbol are of no use.
_perf_row = re.compile(r"^ *([\d.]+)% +(\S+) +\[.\] (.+?)(?:  .*)?$")

# How libraries are called by people, by the beginning of their file's name.
_LIBRARIES = (
    ("[kernel", "Linux"),
    ("libpython", "Python's interpreter"),
    ("python", "Python's interpreter"),
    ("loop.", "uvloop"),
    ("parser.", "httptools"),
    ("_core.", "msgspec"),
    ("_multiarray", "numpy"),
    ("libcrypto", "OpenSSL"),
    ("_hashlib", "OpenSSL"),
    ("libssl", "OpenSSL"),
    ("libc.", "libc"),
    ("libc-", "libc"),
    ("libpthread", "libc"),
)


class Place(NamedTuple):
    """A function of Everlog."""

    path: str
    function: str

    @property
    def layer(self) -> str:
        """The folder that it is in, or its file where it is in none."""
        return self.path.partition("/")[0]


class Stacks:
    """What py-spy saw."""

    def __init__(self, collapsed: Iterable[str]) -> None:
        """Read lines of frames, outermost first and separated by semicolons, and a count."""
        self.layers: Counter[str] = Counter()
        self.places: Counter[Place] = Counter()
        for line in collapsed:
            frames, _, count = line.rstrip().rpartition(" ")
            place = _blamed(frames)
            self.layers[LOOP if place is None else place.layer] += int(count)
            if place is not None:
                self.places[place] += int(count)

    @property
    def total(self) -> int:
        """How many samples there are."""
        return self.layers.total()


def _blamed(frames: str) -> Place | None:
    """Return the innermost function of Everlog: what it calls elsewhere, it asked for."""
    for frame in reversed(frames.split(";")):
        found = _frame.match(frame)
        inside = None if found is None else _everlog.search(found["path"])
        if found is not None and inside is not None:
            place = Place(inside["path"], found["function"])
            return None if place.layer in _STARTERS else place
    return None


class Hit(NamedTuple):
    """A share of the samples of perf."""

    library: str
    symbol: str
    share: float


def parse_perf(report: str) -> Iterator[Hit]:
    """Yield the rows of a report of perf that is sorted by shared object and symbol."""
    for line in report.splitlines():
        found = _perf_row.match(line)
        if found is not None:
            yield Hit(_name_of(found[2]), found[3].strip(), float(found[1]) / 100)


def by_library(hits: Iterable[Hit]) -> dict[str, float]:
    """Return the share of each library, the largest first."""
    shares: dict[str, float] = {}
    for hit in hits:
        shares[hit.library] = shares.get(hit.library, 0.0) + hit.share
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _name_of(shared_object: str) -> str:
    for begin, name in _LIBRARIES:
        if shared_object.startswith(begin):
            return name
    return shared_object

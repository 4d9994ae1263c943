"""The text format of OpenMetrics 1.0: families of metrics become lines, and end with `# EOF`.

What the format asks of names is checked where a family is made; what it means is left to others.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

MEDIA_TYPE: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]

_NO_LABELS: Final[Labels] = {}


class Kind(StrEnum):
    """How the samples of a family are to be understood."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"
    STATESET = "stateset"


class Sample(NamedTuple):
    """One number; the suffix goes behind the name of its family."""

    value: float
    labels: Labels = _NO_LABELS
    suffix: str = ""


class Family(NamedTuple):
    """Samples that mean the same; the name ends with the unit where there is one."""

    name: str
    kind: Kind
    help: str
    unit: str
    samples: Iterable[Sample]


def render(families: Iterable[Family]) -> bytes:
    """Return the text of some families."""
    lines = [line for family in families for line in _lines(family)]
    return "\n".join([*lines, "# EOF\n"]).encode()


def _lines(family: Family) -> Iterator[str]:
    name = family.name
    assert not family.unit or name.endswith(f"_{family.unit}")
    yield f"# TYPE {name} {family.kind.value}"
    if family.unit:
        yield f"# UNIT {name} {family.unit}"
    yield f"# HELP {name} {_escape(family.help)}"
    for sample in family.samples:
        yield f"{name}{sample.suffix}{_labels(sample.labels)} {format_number(sample.value)}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def format_number(value: float) -> str:
    """Return a number as the format wants it: whole ones without a fraction."""
    return str(value) if isinstance(value, int) else repr(value)

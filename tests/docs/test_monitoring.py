"""What the page about monitoring says of checks, metrics and alerts is so."""

import re
from collections.abc import Iterator

from everlog.monitoring import checks
from everlog.monitoring.checks import CHECKS
from everlog.monitoring.metrics import METRICS, Kind
from everlog.service.mirroring.following import FollowingState
from everlog.service.writing.states import Condition
from tests.support.pages import code_blocks, read_page

PAGE = "docs/operating/monitoring.md"


def rows(header: str) -> dict[str, list[str]]:
    """Return the table that begins with a header, by the first cell of each row."""
    lines = read_page(PAGE).partition(f"{header}\n")[2].splitlines()[1:]
    found: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        found[first.strip("`")] = others
    return found


def test_the_table_of_checks_is_that_of_the_code() -> None:
    table = rows("| check | unit | what it looks at | warns | fails |")

    documented = [(name, cells[0]) for name, cells in table.items()]
    assert documented == [(check.name, check.unit) for check in CHECKS]


def test_the_table_of_checks_names_the_limits_of_the_code() -> None:
    table = rows("| check | unit | what it looks at | warns | fails |")

    assert table["disk:free"][2:] == [
        "Below 1 GiB, or a tenth of a small disk.",
        "Below 128 MiB, or a fiftieth of a small disk.",
    ]
    assert (checks.DISK_FREE_WARN_BYTES, checks.DISK_FREE_FAIL_BYTES) == (1 << 30, 128 << 20)
    assert (checks.DISK_FREE_WARN_SHARE, checks.DISK_FREE_FAIL_SHARE) == (1 / 10, 1 / 50)
    assert f"Above {checks.SYNC_WARN_SECONDS}," in table["log:syncLatency"][2]
    assert checks.SYNC_RECENT_SECONDS == 5 * 60
    assert table["log:pendingCommit"][2] == f"Above {checks.PENDING_WARN_SECONDS:.0f}."
    assert f"Above {checks.PENDING_FAIL_SECONDS:.0f}:" in table["log:pendingCommit"][3]
    days = checks.CERTIFICATE_WARN_SECONDS / 86_400
    assert f"Less than {days:.0f} days" in table["tls:certificateEnd"][2]
    assert checks.SHARE_WARN == 9 / 10
    assert table["follower:lagSeconds"][2] == f"Above {checks.LAG_WARN_SECONDS:.0f}."


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    table = rows("| metric | kind | labels | meaning |")

    documented = [(name, kind, help_) for name, (kind, _, help_) in table.items()]
    assert documented == [(metric.name, metric.kind.value, metric.help) for metric in METRICS]


def test_the_states_of_the_store_are_listed() -> None:
    *others, last = (f"`{condition}`" for condition in Condition)
    sentence = f"The states of `everlog_store_condition` are {', '.join(others)} and {last}."

    assert sentence in read_page(PAGE)


def test_the_states_of_a_follower_are_listed() -> None:
    *others, last = (f"`{state}`" for state in FollowingState)

    assert f"its states are {', '.join(others)} and {last}." in read_page(PAGE)


def sample_names() -> Iterator[str]:
    suffixes = {
        Kind.COUNTER: ("_total",),
        Kind.GAUGE: ("",),
        Kind.HISTOGRAM: ("_bucket", "_count", "_sum"),
        Kind.INFO: ("_info",),
        Kind.STATESET: ("",),
    }
    for metric in METRICS:
        for suffix in suffixes[metric.kind]:
            yield metric.name + suffix


def test_every_alert_looks_at_something_that_exists() -> None:
    alerts = next(block.text for block in code_blocks(read_page(PAGE)) if "alert:" in block.text)
    expressions = re.findall(r"expr: (.*)", alerts)
    table = rows("| metric | kind | labels | meaning |")
    labels = {name for _, found, _ in table.values() for name in re.findall(r"`(\w+)`", found)}

    assert len(expressions) == alerts.count("alert:") > 10
    names = set(re.findall(r"\b(?:everlog|process)_\w+", " ".join(expressions)))
    assert names <= {*sample_names(), *labels}

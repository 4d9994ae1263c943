"""The page about audits lists what an audit can find, and the codes it ends with."""

import re

from everlog.maintenance.findings import Finding, Kind
from tests.support.pages import read_page

PAGE = "docs/operating/audit.md"


def test_every_kind_of_finding_is_on_the_page_with_its_weight_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| ", read_page(PAGE), re.MULTILINE)

    assert rows == [(kind.value, weight_of(kind)) for kind in Kind]


def weight_of(kind: Kind) -> str:
    finding = Finding(kind=kind, event_id=None, file="", offset=None, meaning="")
    return finding.weight.value


def test_the_exit_codes_are_those_of_the_command() -> None:
    codes = re.findall(r"^\| (\d) \|", read_page(PAGE), re.MULTILINE)

    assert codes == ["0", "2", "3", "4"]

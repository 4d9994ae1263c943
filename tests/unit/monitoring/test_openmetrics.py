"""The text format: what the reference parser reads is what was put in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from everlog.monitoring.openmetrics import Family, Kind, Sample, render

# What the parser takes for the end of a line besides LF would be its own business.
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20)


@given(help_=TEXTS, label=st.one_of(TEXTS, st.just('a\\b"c\nd')), value=st.integers(0, 10**15))
def test_texts_and_numbers_survive(help_: str, label: str, value: int) -> None:
    samples = (Sample(value, {"name": label}, "_total"),)
    family = Family("everlog_x_bytes", Kind.COUNTER, help_, "bytes", samples)

    [read] = text_string_to_metric_families(render([family]).decode())

    assert (read.name, read.type, read.unit) == ("everlog_x_bytes", "counter", "bytes")
    assert read.documentation == help_
    assert [(sample.name, sample.labels, sample.value) for sample in read.samples] == [
        ("everlog_x_bytes_total", {"name": label}, value)
    ]


@pytest.mark.parametrize("value", [0, 1, 2**53, 0.1, 1e-9, 1.5e300, 1795448950.935691])
def test_numbers_are_exact(value: float) -> None:
    family = Family("everlog_x", Kind.GAUGE, "X.", "", (Sample(value),))

    [read] = text_string_to_metric_families(render([family]).decode())

    assert read.samples[0].value == value


def test_nothing_at_all_is_an_end() -> None:
    assert render([]) == b"# EOF\n"


def test_a_unit_must_be_in_the_name() -> None:
    with pytest.raises(AssertionError):
        render([Family("everlog_x", Kind.GAUGE, "X.", "seconds", ())])

"""The benchmarks work: each runs to its end and says something. What they say is not judged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.figures import Bar, Figure, at_least, at_most, render, take_medians
from tests.support.sources import REPOSITORY

SECONDS_MAX = 120


@pytest.mark.slow
def test_every_benchmark_measures_something(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"

    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(report)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=SECONDS_MAX)

    figures = json.loads(report.read_text())
    assert list(figures) == list(BENCHMARKS)
    for measured in figures.values():
        assert measured
        assert all(figure["value"] >= 0 for figure in measured)


def test_the_help_names_every_benchmark_and_what_it_does() -> None:
    command = [sys.executable, "-m", "benchmarks", "--help"]
    told = subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=SECONDS_MAX
    ).stdout

    for name, measure in BENCHMARKS.items():
        assert f"  {name} " in told
        assert str(measure.__doc__) in told


# Each row: value, reference, bar, and whether it is reached.
@pytest.mark.parametrize(
    "value, reference, bar, is_reached",
    [
        (3.0, 10.0, at_least(0.3), True),
        (2.9, 10.0, at_least(0.3), False),
        (15.0, 10.0, at_most(1.5), True),
        (15.1, 10.0, at_most(1.5), False),
        (5.0, None, at_most(5.0), True),
        (5.1, None, at_most(5.0), False),
        (5.1, None, None, None),
    ],
)
def test_a_bar_judges_the_ratio_or_else_the_value(
    value: float, reference: float | None, bar: Bar | None, *, is_reached: bool | None
) -> None:
    figure = Figure(name="a", value=value, unit="ms", reference=reference, bar=bar)

    assert figure.is_reached is is_reached
    assert ("MISSED" in render(figure)) == (is_reached is False)


def test_medians_are_taken_of_values_and_references() -> None:
    runs = [
        [Figure(name="a", value=value, unit="ms", reference=reference)]
        for value, reference in ((1.0, 30.0), (3.0, 10.0), (2.0, 20.0))
    ]

    (figure,) = take_medians(runs)

    assert (figure.value, figure.reference) == (2.0, 20.0)

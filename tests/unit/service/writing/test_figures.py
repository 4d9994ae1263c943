"""Figures of the writer: histograms, and the average that follows the latest batches."""

import pytest

from everlog.service.writing.figures import CommitFigures, Histogram


def test_a_value_belongs_to_the_first_bound_that_is_not_below_it() -> None:
    histogram = Histogram((1.0, 2.0))

    for value in (0.5, 1.0, 1.5, 2.0, 2.5, 100.0):
        histogram.add(value)

    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == 107.5


@pytest.mark.parametrize("bounds", [(2.0, 1.0), (1.0, 1.0)])
def test_bounds_must_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        Histogram(bounds)


def test_the_average_follows_the_latest_batches() -> None:
    figures = CommitFigures()
    for _ in range(100):
        figures.end(1.0, 1.0, events=1, size=10, schemas=0)
    assert figures.average_seconds == pytest.approx(1.0)

    for _ in range(30):
        figures.end(2.0, 0.001, events=1, size=10, schemas=1)

    assert figures.average_seconds is not None
    assert figures.average_seconds < 0.05
    assert (figures.events, figures.bytes, figures.schemas) == (130, 1_300, 30)


def test_a_batch_is_pending_until_it_ends_or_fails() -> None:
    figures = CommitFigures()
    figures.begun_at = 1.0
    assert figures.begun_at == 1.0

    figures.end(3.0, 2.0, events=1, size=1, schemas=0)
    assert (figures.begun_at, figures.ended_at) == (None, 3.0)

    figures.begun_at = 4.0
    figures.fail()
    assert (figures.begun_at, figures.ended_at, figures.failures) == (None, 3.0, 1)

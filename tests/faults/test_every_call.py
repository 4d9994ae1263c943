"""Each single call to the disk fails in turn, in a run that does all that an engine does."""

import os
from pathlib import Path

import pytest

from everlog.storage.log import columns
from tests.support.faulty_calls import (
    Client,
    Failure,
    FaultyCalls,
    numbers_that_differ,
    sites_of_the_engine,
)

# Whether each call fails in each way; otherwise one half has no room once, the other from then on.
IS_THOROUGH = "EVERLOG_EVERY_FAILURE" in os.environ
SHARED = (Failure.FULL, Failure.STAYING_FULL)


@pytest.fixture(autouse=True)
def small_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    # So small that they grow in the course of the run.
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 8)


def calls_of_a_run(directory: Path, disk: FaultyCalls) -> FaultyCalls:
    client = Client(directory, disk)
    client.run()
    client.check()
    assert not client.refused
    assert not client.unknown
    return disk


def test_the_run_calls_the_disk_from_every_place_that_does(tmp_path: Path) -> None:
    sites = calls_of_a_run(tmp_path / "data", FaultyCalls()).sites
    others = calls_of_a_run(tmp_path / "other", FaultyCalls(can_allocate=False)).sites
    # What a snapshot that fails has taken is given back.
    failing = next(number for number, site in enumerate(sites) if site.function == "_append")
    others += calls_of_a_run(tmp_path / "failing", FaultyCalls(failing, Failure.FULL)).sites

    assert sites_of_the_engine() - {*sites, *others} == set()
    assert len(sites) > 150


@pytest.mark.slow
@pytest.mark.parametrize("failure", Failure)
def test_no_failing_call_makes_a_lie_of_what_a_client_was_told(
    tmp_path: Path, failure: Failure
) -> None:
    sites = calls_of_a_run(tmp_path / "healthy", FaultyCalls()).sites
    failed = 0
    numbers = numbers_that_differ(sites, failure)
    if not IS_THOROUGH and failure in SHARED:
        numbers = numbers[SHARED.index(failure) :: len(SHARED)]
    for number in numbers:
        disk = FaultyCalls(number, failure)
        client = Client(tmp_path / str(number), disk)
        try:
            client.run()
            client.check()
        except BaseException as error:
            error.add_note(f"call {number} is {failure}: {disk.sites[number]}")
            raise
        failed += bool(client.refused or client.unknown)

    assert (failed > 10) is (failure is not Failure.SHORT)

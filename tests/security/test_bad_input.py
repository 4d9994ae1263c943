"""A real server under generated requests: no 500, no traceback, no leak, no stuck connection.

`BAD_INPUT_REQUESTS` says how many, `BAD_INPUT_SEED` which ones: `make test-all` asks for 100,000.
What makes a server fail is printed; it belongs into the corpus, which is replayed here beside
what servers are known to fail at.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from tests.support.bad_input import (
    CORPUS,
    MODES,
    REQUEST_COUNT,
    SEED,
    Target,
    connections,
    joined,
    operations,
    to_bytes,
)
from tests.support.server import running_server

# Making requests from the document takes twenty times as long as making them from bytes.
FROM_DOCUMENT = REQUEST_COUNT // 10
FROM_BYTES = REQUEST_COUNT - FROM_DOCUMENT

# Between two looks at the server.
CONNECTIONS_PER_BATCH = 200
CASES_PER_BATCH = max(12, FROM_DOCUMENT // 200)


def generated(count: int) -> settings:
    """Return settings for so many examples, without what looks for a smaller failure."""
    return settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def send_batch_from_bytes(target: Target, number: int) -> int:
    count = 0

    @seed(SEED * 1_000_000 + number)
    @generated(CONNECTIONS_PER_BATCH)
    @given(connections)
    def send(drawn: tuple[list[bytes], list[int], bool]) -> None:
        nonlocal count
        parts, ends, is_rude = drawn
        stream, cuts = joined(parts, ends)
        target.send(stream, cuts=cuts, is_rude=is_rude)
        count += len(parts)

    send()
    return count


@pytest.mark.slow
def test_no_bytes_harm_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with running_server() as server:
        target = Target(server)
        sent_count = send_batch_from_bytes(target, 0)
        target.check_healthy()
        target.remember_size()
        number = 0
        while sent_count < FROM_BYTES:
            number += 1
            sent_count += send_batch_from_bytes(target, number)
            target.check_healthy()
            target.check_size(sent_count)
        target.check_readable()
        with capsys.disabled():
            sys.stdout.write(f"\n{sent_count} requests from bytes; {target.figures()}\n")
        assert server.stop() == 0
        # Nothing that a stranger sends is worth a line at the end, either.
        assert server.errors == []


def send_batch_from_document(target: Target, operation: Any, mode: Any, number: int) -> int:
    count = 0

    @seed(SEED * 1_000_000 + number)
    @generated(CASES_PER_BATCH)
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        nonlocal count
        target.send(to_bytes(case))
        count += 1

    try:
        send()
    except Unsatisfiable:
        # There is nothing in it that could be wrong.
        assert operation.method == "get"
    return count


@pytest.mark.slow
def test_no_request_made_from_the_document_harms_a_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    irrevocable, repeatable = operations()
    sent_count = number = 0
    with running_server() as server:
        target = Target(server)
        target.check_healthy()
        target.remember_size()
        while sent_count < FROM_DOCUMENT:
            for operation, mode in product(repeatable, MODES):
                number += 1
                sent_count += send_batch_from_document(target, operation, mode, number)
                target.check_healthy()
            target.check_size(sent_count)
        target.check_readable()
        for operation, mode in product(irrevocable, MODES):
            sent_count += send_batch_from_document(target, operation, mode, number)
        target.check_log()
        with capsys.disabled():
            sys.stdout.write(f"\n{sent_count} from the document; {target.figures()}\n")
        assert server.stop() == 0


@pytest.mark.parametrize("file", sorted(CORPUS.iterdir()), ids=lambda file: file.name)
def test_what_once_did_harm_does_not_any_more(file: Path) -> None:
    with running_server() as server:
        target = Target(server)
        target.send(file.read_bytes())
        target.check_healthy()
        assert server.stop() == 0

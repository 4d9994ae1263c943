"""Whom the SDK is tried with, in both of its versions: a server alone, and clusters of three nodes.

Each test has a place of its own, so that a cluster serves all of them; a server alone is there for
each file. What needs an empty store has a new one for each test: with a cluster that takes long, so
that it is done where EVERLOG_EMPTY_CLUSTERS says so.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.balanced_cluster import (
    JOURNALS,
    Front,
    NewJournal,
    running_cluster,
    running_journals,
)
from tests.support.keys import write_signing_key
from tests.support.sdk import API_VERSIONS, Place, Sdk
from tests.support.server import running_server

ALONE = "alone"
STORES = (ALONE, *JOURNALS)
EMPTY_STORES = STORES if os.environ.get("EVERLOG_EMPTY_CLUSTERS") else (ALONE,)

# Returns the front of a new cluster on a kind of journal, whose nodes have more flags.
NewCluster = Callable[..., Front]


@pytest.fixture(scope="session")
def journals() -> Iterator[Callable[[str], NewJournal]]:
    """Yield what makes journals on servers that are started once for all tests."""
    running: dict[str, NewJournal] = {}
    with ExitStack() as stack:

        def journals_of(kind: str) -> NewJournal:
            if kind not in running:
                running[kind] = stack.enter_context(running_journals(kind))
            return running[kind]

        yield journals_of


@pytest.fixture(scope="session")
def shared(journals: Callable[[str], NewJournal]) -> Iterator[Callable[[str], Front]]:
    """Yield what finds the one cluster on a kind of journal that tests share."""
    running: dict[str, Front] = {}
    with ExitStack() as stack:

        def front_of(kind: str) -> Front:
            if kind not in running:
                running[kind] = stack.enter_context(running_cluster(journals(kind)()))
            return running[kind]

        yield front_of


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def server(store: str, shared: Callable[[str], Front]) -> Iterator[Front]:
    if store != ALONE:
        yield shared(store)
        return
    with running_server() as server:
        yield Front(server.url)


@pytest.fixture(scope="module")
def signing_server(
    store: str,
    journals: Callable[[str], NewJournal],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Front, str]]:
    """Yield one that signs, and its public key in hexadecimal."""
    key_file: Path = tmp_path_factory.mktemp("keys") / "key.pem"
    key = write_signing_key(key_file).public_bytes_raw().hex()
    if store != ALONE:
        with running_cluster(journals(store)(), signing_key_file=key_file) as front:
            yield front, key
        return
    with running_server(signing_key_file=key_file) as server:
        yield Front(server.url), key


@pytest.fixture(params=API_VERSIONS)
def api(server: Front, request: pytest.FixtureRequest) -> Sdk:
    return Sdk(server.url, request.param)


@pytest.fixture(params=[(store, version) for store in EMPTY_STORES for version in API_VERSIONS],
                ids="-".join)  # fmt: skip
def empty(request: pytest.FixtureRequest, journals: Callable[[str], NewJournal]) -> Iterator[Sdk]:
    """Yield the SDK, connected to a server or cluster without events that nobody else uses."""
    store, version = request.param
    if store != ALONE:
        with running_cluster(journals(store)()) as front:
            yield Sdk(front.url, version)
        return
    with running_server() as server:
        yield Sdk(server.url, version)


@pytest.fixture
def place() -> Place:
    return Place()

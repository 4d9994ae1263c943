"""Data directories to audit."""

from pathlib import Path

import pytest

from everlog.domain.chain import HashVersion
from everlog.storage.log import columns
from tests.support.audits import EVENT_COUNT, SEGMENT_SIZE
from tests.support.engines import kill, open_log
from tests.support.events import (
    TRACEPARENT,
    a_candidate,
    a_schema,
    seal,
    stage,
    store,
    store_staged,
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory with everything that there is, after a clean stop."""
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 16)
    engine = open_log(tmp_path / "data", segment_size_max=SEGMENT_SIZE)
    stage(engine, a_candidate("/a", traceparent=TRACEPARENT), a_candidate("/a/b"))
    stage(engine, a_candidate("/a", traceparent=TRACEPARENT, tracestate='a="\\"'))
    engine.stage_schema(a_schema("io.everlog.one"))
    store_staged(engine)
    store(engine, a_candidate("/c", data='{"t":"\u00e9 }}  \\n"}'), hash_version=HashVersion.V1)
    while engine.head.event_count < EVENT_COUNT:
        store(engine, a_candidate(f"/d/{engine.head.event_count}", "io.everlog.other"))
    engine.stage_schema(a_schema("io.everlog.two"))
    store_staged(engine)
    engine.close()
    assert len(list((tmp_path / "data" / "log").iterdir())) == 2
    return tmp_path / "data"


@pytest.fixture
def killed(directory: Path) -> Path:
    """Return the directory after the death of the process, with the bound of one batch ago."""
    engine = open_log(directory)
    bound = (directory / "durable").read_bytes()
    stage(engine, a_candidate("/e"), a_candidate("/f"))
    stage(engine, a_candidate("/g"))
    engine.commit(seal(engine))
    kill(engine)
    (directory / "durable").write_bytes(bound)
    return directory

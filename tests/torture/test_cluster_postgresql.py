"""Nodes that share a journal on PostgreSQL keep every promise, whatever is done to them and to it.

EVERLOG_CLUSTER_SECONDS says for how long something is done, EVERLOG_CLUSTER_SEED what.
"""

from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster_rounds import check_rounds, on_postgresql


@pytest.mark.slow
def test_nodes_on_postgresql_keep_every_promise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_rounds(tmp_path, partial(on_postgresql, node_count=3), capsys)

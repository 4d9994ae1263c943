"""Nodes that share a journal on PostgreSQL servers of Patroni's keep every promise.

Patroni takes half a minute to make its cluster, and as long to make another server the primary: so
there are rounds only where EVERLOG_CLUSTER_PATRONI_SECONDS says for how long something is done, as
`make test-all` does. EVERLOG_CLUSTER_SEED says what is done.
"""

import os
from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster_rounds import check_rounds, on_patroni

SECONDS = float(os.environ.get("EVERLOG_CLUSTER_PATRONI_SECONDS", "0"))


if SECONDS:

    @pytest.mark.slow
    def test_nodes_on_patroni_keep_every_promise(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        check_rounds(tmp_path, partial(on_patroni, node_count=2), capsys, seconds=SECONDS)

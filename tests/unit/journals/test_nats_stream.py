from typing import Any

import pytest

from everlog.journals.nats_stream import (
    find_faults,
    new_stream,
    remarks_on,
    servers_that_sync_late,
)

PAYLOAD_MAX = 8 << 20


def test_a_stream_that_is_made_can_hold_a_journal() -> None:
    config = new_stream("s", replicas=3, identity="i")
    assert find_faults(config, replicas=3) == []
    assert find_faults(config, replicas=1) == []
    assert remarks_on({"config": config}, payload_max=PAYLOAD_MAX) == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("storage", "memory"),
        ("persist_mode", "async"),
        ("retention", "workqueue"),
        ("retention", "interest"),
        ("discard", "old"),
        ("max_age", 1),
        ("max_msgs", 10),
        ("max_bytes", 10),
        ("max_msgs_per_subject", 1),
        ("deny_delete", False),
        ("deny_purge", True),
        ("allow_rollup_hdrs", False),
        ("allow_msg_ttl", False),
        ("allow_direct", False),
        ("no_ack", True),
        ("sealed", True),
        ("allow_msg_counter", True),
        ("mirror", {"name": "other"}),
        ("sources", [{"name": "other"}]),
        ("subject_transform", {"src": ">", "dest": "x.>"}),
        ("republish", {"src": ">", "dest": "x.>"}),
        ("subjects", ["s.log", "s.barrier", "s.node.*", "s.more"]),
        ("subjects", ["s.>"]),
        ("num_replicas", 1),
        ("metadata", {}),
    ],
)
def test_what_keeps_a_stream_from_holding_a_journal_is_named(name: str, value: Any) -> None:
    config = new_stream("s", replicas=3, identity="i") | {name: value}
    (fault,) = find_faults(config, replicas=3)
    assert fault.startswith(name)


def test_what_is_missing_is_as_it_is_by_default() -> None:
    faults = find_faults({"name": "s"}, replicas=3)
    missing = {"storage", "retention", "discard", "deny_delete", "subjects", "metadata"}
    assert missing <= {fault.split()[0] for fault in faults}


def test_what_an_operator_should_know_is_remarked() -> None:
    config = new_stream("s", replicas=1, identity="i")
    cluster = {"replicas": [{"name": "n1"}, {"name": "n2", "offline": True}]}
    one, away, small = remarks_on({"config": config, "cluster": cluster}, payload_max=1 << 20)
    assert "one replica" in one
    assert away.endswith(": n2")
    assert "1048576 bytes" in small


def test_servers_that_sync_late_are_named_if_they_keep_streams() -> None:
    told: list[dict[str, Any]] = [
        {"server": {"name": "c"}, "data": {"config": {"max_storage": 1}}},
        {"server": {"name": "a"}, "data": {"config": {"sync_always": True}}},
        {"server": {"name": "b"}, "data": {"config": {"sync_always": False}}},
        {"server": {"name": "d"}, "data": {"disabled": True}},
        {"error": "something else"},
        {},
    ]
    assert servers_that_sync_late(told) == ["b", "c"]

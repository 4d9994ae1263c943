"""What a stream must be like to hold a journal, and what it is made like (docs/operating/nats.md).

What is wrong with one is said by its names in NATS, since that is where it is changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

# The first one whose checks of expected sequences, replicas and recovery this was held against.
VERSION_MIN: Final = (2, 12)

# Where a stream has the journal's identity.
IDENTITY_KEY: Final = "everlog.journal"

# For how long the servers look whether they know a message's id. An append is told from another
# one by its place, so that nothing depends on it.
_DUPLICATE_WINDOW: Final = 120 * 1_000_000_000

# With messages smaller than this, large writes are refused that others take.
_PAYLOAD_ADVISED: Final = 8 * 1024 * 1024

Config = Mapping[str, Any]


def subjects_of(name: str) -> list[str]:
    """Return the subjects of a stream; see `nats` for what they are for."""
    return [f"{name}.log", f"{name}.barrier", f"{name}.node.*"]


def new_stream(name: str, *, replicas: int, identity: str) -> dict[str, Any]:
    """Return the configuration of a stream that is to be made."""
    return {
        "name": name,
        "description": "A journal of Everlog: see docs/operating/nats.md before you change it.",
        "subjects": subjects_of(name),
        "storage": "file",
        "num_replicas": replicas,
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "duplicate_window": _DUPLICATE_WINDOW,
        "deny_delete": True,
        # A barrier replaces the one before it, and so does what a node says.
        "deny_purge": False,
        "allow_rollup_hdrs": True,
        # What a node said goes when nobody says it again.
        "allow_msg_ttl": True,
        # What is read is read from any replica.
        "allow_direct": True,
        "metadata": {IDENTITY_KEY: identity},
    }


def _is_no_limit(value: Any) -> bool:
    return value in {None, 0, -1}


def _is_unset(value: Any) -> bool:
    return not value


# What is in a configuration, what it must be, and how that is said.
_RULES: Final[Sequence[tuple[str, Callable[[Any], bool], str]]] = (
    ("storage", lambda value: value == "file", "be 'file', or a restart forgets everything"),
    ("persist_mode", lambda value: value in {None, "", "default"}, "be 'default'"),
    ("retention", lambda value: value == "limits", "be 'limits', or what was read is deleted"),
    ("discard", lambda value: value == "new", "be 'new', or what is old is deleted"),
    ("max_age", _is_no_limit, "be 0, or what is old is deleted"),
    ("max_msgs", _is_no_limit, "be -1, or the journal comes to an end"),
    ("max_bytes", _is_no_limit, "be -1, or the journal comes to an end"),
    ("max_msgs_per_subject", _is_no_limit, "be -1, or the journal comes to an end"),
    ("deny_delete", bool, "be true, or entries can be deleted"),
    ("deny_purge", _is_unset, "be false, or no barrier can replace the one before it"),
    ("allow_rollup_hdrs", bool, "be true, or no barrier can replace the one before it"),
    ("allow_msg_ttl", bool, "be true, or what nodes say of themselves stays for ever"),
    ("allow_direct", bool, "be true, or entries cannot be read from replicas"),
    ("no_ack", _is_unset, "be false, or nobody knows what was stored"),
    ("sealed", _is_unset, "be false, or nothing can be appended"),
    ("allow_msg_counter", _is_unset, "be false, or entries are refused"),
    ("mirror", _is_unset, "not be there: the journal is no copy"),
    ("sources", _is_unset, "not be there: the journal is no copy"),
    ("subject_transform", _is_unset, "not be there: entries would get other subjects"),
    ("republish", _is_unset, "not be there: entries would be told to others"),
)


def find_faults(config: Config, *, replicas: int) -> list[str]:
    """Return what keeps a stream from holding a journal, a part of a sentence each."""
    name = config["name"]
    faults = [
        f"{key} must {rule}" for key, is_right, rule in _RULES if not is_right(config.get(key))
    ]
    if set(config.get("subjects") or ()) != set(subjects_of(name)):
        faults.append(f"subjects must be {', '.join(subjects_of(name))}")
    has = config.get("num_replicas") or 1
    if has < replicas:
        faults.append(f"num_replicas is {has}, and must be {replicas} (--journal-replicas)")
    if IDENTITY_KEY not in (config.get("metadata") or {}):
        faults.append(
            f"metadata must have {IDENTITY_KEY}: it was not made by Everlog, which makes its "
            "stream itself"
        )
    return faults


def servers_that_sync_late(told: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of servers with JetStream that acknowledge before they have synced.

    `told` is what servers say of JetStream (`jsz`).
    """
    return sorted(
        str((each.get("server") or {}).get("name", ""))
        for each in told
        if (config := (each.get("data") or {}).get("config")) and not config.get("sync_always")
    )


def remarks_on(stream: Mapping[str, Any], *, payload_max: int) -> list[str]:
    """Return what an operator should know of a stream that can hold a journal."""
    remarks: list[str] = []
    if (stream["config"].get("num_replicas") or 1) == 1:
        remarks.append(
            "the journal's stream has one replica: it is lost with its server's disk, and away "
            "with its server"
        )
    away = [
        replica["name"]
        for replica in stream.get("cluster", {}).get("replicas") or ()
        if replica.get("offline")
    ]
    if away:
        remarks.append(f"replicas of the journal's stream are offline: {', '.join(away)}")
    if payload_max < _PAYLOAD_ADVISED:
        remarks.append(
            f"the servers of the journal take messages of {payload_max} bytes at most "
            "(max_payload), so that larger writes are refused: 8 MB are advised"
        )
    return remarks

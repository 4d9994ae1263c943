"""What is asked of a PostgreSQL server before anything is stored in it, without a server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from everlog.domain.errors import JournalUnreachableError
from everlog.journals import postgresql_connections
from everlog.journals.postgresql_connections import Link, Server
from everlog.service.mirroring.journal import UnfitJournalError

PID = 7


class StatedLink:
    """A connection to a server that is as a test says."""

    def __init__(self, version: int, **differences: object) -> None:
        self.server_version = version
        self.server_pid = PID
        stated = {
            "is_standby": False,
            "pid": PID,
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous": "",
            "standbys": 0,
        }
        self._row = tuple((stated | differences).values())

    async def ask(self, _: str) -> Sequence[tuple[Any, ...]]:
        return [self._row]


def examine(version: int, **differences: object) -> Sequence[str]:
    link: Any = StatedLink(version, **differences)
    return asyncio.run(postgresql_connections._examined(link))


def test_a_server_that_is_fit_needs_no_remark() -> None:
    assert examine(140_000) == ()
    assert examine(180_001, synchronous="a", standbys=1) == ()
    assert examine(190_000, synchronous="a") == ()


def test_a_server_that_is_too_old_is_refused() -> None:
    with pytest.raises(UnfitJournalError, match="14 or newer, and this one is 13"):
        examine(130_022)


def test_a_pooler_is_refused() -> None:
    with pytest.raises(UnfitJournalError, match="a connection pooler stands before"):
        examine(180_000, pid=PID + 1)


def test_a_standby_is_asked_again() -> None:
    with pytest.raises(JournalUnreachableError) as caught:
        examine(180_000, is_standby=True)
    assert "is a standby" in caught.value.reason


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_sync_is_refused(setting: str) -> None:
    with pytest.raises(UnfitJournalError, match=f"set {setting} = on"):
        examine(180_000, **{setting: "off"})


@pytest.mark.parametrize(
    "version, fixed", [(140_017, "14.18"), (150_012, "15.13"), (160_008, "16.9"), (170_004, "17.5")]
)
def test_a_release_that_does_not_wait_from_the_start_on_is_remarked(
    version: int, fixed: str
) -> None:
    (remark,) = examine(version, synchronous="a", standbys=1)
    assert remark.endswith(f"take {fixed}")
    assert examine(version + 1, synchronous="a", standbys=1) == ()
    # Without standbys it waits for nobody.
    assert examine(version) == ()


@pytest.mark.parametrize(
    "severity, function, is_noted",
    [
        ("WARNING", "SyncRepWaitForLSN", True),
        ("WARNING", "whatever comes", True),
        ("NOTICE", "whatever comes", False),
        # That it should be vacuumed, and that somebody else does not listen.
        ("WARNING", "GetNewTransactionId", False),
        ("WARNING", "asyncQueueFillWarning", False),
    ],
)
def test_a_warning_is_an_unknown_outcome_unless_it_is_of_other_things(
    severity: str, function: str, *, is_noted: bool
) -> None:
    connection: Any = SimpleNamespace(add_notice_handler=lambda _: None)
    link = Link(connection, str, fell_silent=lambda: None)
    diagnostic: Any = SimpleNamespace(
        severity_nonlocalized=severity, source_function=function, message_primary="text"
    )
    link._note(diagnostic)
    assert bool(link._warnings) == is_noted


def server(url: str, **options: Path | None) -> Server:
    files: dict[str, Path | None] = {"password_file": None, "ca_file": None, **options}
    return Server(url, password_file=files["password_file"], ca_file=files["ca_file"])


@pytest.mark.parametrize(
    "url, hosts",
    [
        ("postgresql://a:1,b:2/d", [("a", "1"), ("b", "2")]),
        ("postgresql://a,b/d?port=7", [("a", "7"), ("b", "7")]),
        ("postgresql:///d?host=a,b&port=1,2", [("a", "1"), ("b", "2")]),
    ],
)
def test_who_did_not_answer_is_asked_last(url: str, hosts: list[tuple[str, str]]) -> None:
    asked = server(url)

    def order() -> list[tuple[str, str]]:
        return [(host["host"], host["port"]) for host in asked._hosts]

    assert order() == hosts
    first = asked._hosts[0]
    asked.ask_last(first)
    assert order() == hosts[::-1]
    # By whichever connection that is noticed.
    asked.ask_last(first)
    assert order() == hosts[::-1]


@pytest.mark.parametrize(
    "options, variable, mode",
    [
        ("", "", "verify-full"),
        ("?sslmode=verify-ca", "", "verify-ca"),
        ("", "require", None),
    ],
)
def test_with_a_ca_file_the_certificate_has_to_be_that_of_the_host(
    options: str,
    variable: str,
    mode: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "ca.crt"
    file.touch()
    monkeypatch.setenv("PGSSLMODE", variable)
    parameters = server(f"postgresql://h/d{options}", ca_file=file)._parameters
    assert parameters["sslrootcert"] == str(file)
    assert parameters.get("sslmode") == mode


def test_what_the_url_says_goes_before_what_is_usual() -> None:
    parameters = server("postgresql://h/d?connect_timeout=9&application_name=a")._parameters
    assert parameters["connect_timeout"] == "9"
    assert parameters["application_name"] == "a"
    # But not where it would break a promise.
    assert (
        server("postgresql://h/d?target_session_attrs=any")._parameters["target_session_attrs"]
        == "read-write"
    )

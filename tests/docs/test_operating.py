"""What the page about running says of flags, limits, exit codes and logs is so."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog import bootstrap, telemetry
from everlog.api.routes import ROUTES
from everlog.cli.run import run
from everlog.credentials import live
from everlog.domain import limits
from everlog.domain.selection import EVENT_ID_MAX
from everlog.http import Limits
from tests.support.pages import Block, code_blocks, read_page, run_script
from tests.support.server import running_server

PAGE = "docs/operating/run.md"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


def rows(header: str) -> dict[str, list[str]]:
    """Return the table that begins with a header, by the first cell of each row."""
    lines = read_page(PAGE).partition(f"{header}\n")[2].splitlines()[1:]
    found: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        found[first.strip("| ")] = others
    assert found, header
    return found


def block(language: str) -> Block:
    return next(found for found in code_blocks(read_page(PAGE)) if found.language == language)


def test_the_table_of_flags_is_that_of_the_command() -> None:
    table = rows("| flag | environment variable | default | what it does |")

    documented = {
        flag.strip("`"): (variable.strip("`"), default.strip("`"))
        for flag, (variable, default, _) in table.items()
    }
    assert documented.keys() == {option.opts[0] for option in run.params}
    for option in run.params:
        variable, default = documented[option.opts[0]]
        assert variable == option.envvar
        # Where there is no default, the page says so in words.
        assert default.startswith("none") or default == str(option.default).lower()


def test_the_table_of_exit_codes_is_that_of_the_server() -> None:
    codes = {
        value
        for name, value in vars(bootstrap).items()
        if name.startswith("EXIT_") and isinstance(value, int)
    }

    assert {int(code) for code in rows("| exit code | meaning |")} == codes


BODY_SIZES = {route.handle.__name__: route.body_size_max for route in ROUTES}

LIMITS: dict[str, float] = {
    "one event: the bytes of its values": limits.EVENT_SIZE_MAX,
    "events in one write": limits.EVENTS_PER_WRITE_MAX,
    "preconditions in one write": limits.PRECONDITIONS_PER_WRITE_MAX,
    "body of a write, bytes": BODY_SIZES["write_events"],
    "body of a schema registration, bytes": BODY_SIZES["register_event_schema"],
    "body of any other request, bytes": BODY_SIZES["read_events"],
    "event schema, bytes": limits.SCHEMA_SIZE_MAX,
    "subject, characters": limits.SUBJECT_LENGTH_MAX,
    "subject, segments": limits.SUBJECT_DEPTH_MAX,
    "source, characters": limits.SOURCE_LENGTH_MAX,
    "event type, characters": limits.EVENT_TYPE_LENGTH_MAX,
    "tracestate, characters": limits.TRACESTATE_LENGTH_MAX,
    "tracestate, members": limits.TRACESTATE_MEMBERS_MAX,
    "nesting of JSON in events and schemas": limits.JSON_NESTING_MAX,
    "head of a request, bytes": Limits().head_size_max,
    "headers of a request": Limits().header_count_max,
    "target of a request, bytes": Limits().target_length_max,
    "seconds for a head to arrive": Limits().head_seconds_max,
    "seconds for a body to arrive, and more if it arrives at the rate below on average": (
        Limits().body_seconds_max
    ),
    "rate of a body, bytes a second": Limits().body_rate_min,
    "seconds that an idle connection is kept": Limits().idle_seconds_max,
    "requests read ahead on a connection": Limits().pipelined_max,
    "connections": Limits().connections_max,
    "seconds without a byte taken by a client that is being sent something": (
        Limits().send_seconds_max
    ),
    "event ids": EVENT_ID_MAX,
}


def test_the_table_of_limits_is_that_of_the_code() -> None:
    documented = {
        what: int(limit.replace(",", "")) for what, (limit,) in rows("| what | limit |").items()
    }

    assert documented == LIMITS


def test_every_limit_of_the_domain_is_in_the_table() -> None:
    # A body of another request is the small one; the largest write is the large one.
    values = {value for name, value in vars(limits).items() if name.endswith("_MAX")}

    assert values <= set(LIMITS.values())


def test_the_table_of_messages_is_that_of_the_server() -> None:
    documented = {
        (level.strip("`"), message)
        for level, (cell, _) in rows_of_log()
        for message in re.findall(r"`([^`]+)`", cell)
    }

    assert set(logged_messages()) <= documented
    # Some are put into a variable first.
    texts = set().union(*map(texts_of, (*LOGGING, TELEMETRY)))
    for _, message in documented:
        assert message in texts


LOGGING = (Path(bootstrap.__file__), Path(live.__file__))
TELEMETRY = Path(telemetry.__file__)

LEVELS = {"debug": "debug", "info": "info", "warning": "warn", "error": "error", "fatal": "fatal"}


def logged_messages() -> Iterator[tuple[str, str]]:
    """Yield the level and the text of every message that a running server logs."""
    for path in LOGGING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id="log") | ast.Attribute(attr="_log"), attr=level
                    ),
                    args=[ast.Constant(value=str(message))],
                ):
                    yield LEVELS[level], message


def texts_of(path: Path) -> set[str]:
    """Return every text in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def rows_of_log() -> Iterator[tuple[str, list[str]]]:
    table = read_page(PAGE).partition("| level | message | meaning |\n")[2]
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            return
        level, *others = (cell.strip() for cell in line.strip("|").split("|"))
        yield level, others


@pytest.mark.slow
def test_the_keys_made_as_the_page_says_can_be_used(tmp_path: Path) -> None:
    run_script(["bash", "-eu"], block("sh").text, directory=tmp_path, path=COMMANDS)

    with running_server(signing_key_file=tmp_path / "signing-key.pem"):
        assert (tmp_path / "verification-key.pem").read_text().startswith("-----BEGIN PUBLIC KEY")

"""What a person is told when the server cannot do what it can do otherwise."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import TIMEOUT_MS, sign_in, watched_page
from tests.support.server import DEADLINE_SECONDS, TOKEN, RunningServer, running_server, wait_until


@contextmanager
def restoring(server: RunningServer) -> Iterator[None]:
    """Let a restore go on for as long as the block, without an end."""
    head = (
        "POST /api/v2/management/restore HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: 100000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        connection.sendall(head.encode())
        wait_until(lambda: _is_locked(server))
        yield


def _is_locked(server: RunningServer) -> bool:
    head = (
        "GET /api/v2/system/diagnostics HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        connection.sendall(head.encode())
        with connection.makefile("rb") as answer:
            return b"restore-in-progress" in answer.read()


def test_while_a_backup_is_restored_that_is_said_and_all_comes_back(
    page: Page, server: RunningServer
) -> None:
    sign_in(page, "#/events?subject=/&recursive=true")
    with restoring(server):
        notice = page.get_by_text("A backup is being restored.").first
        expect(notice).to_be_visible(timeout=TIMEOUT_MS)
        expect(page.get_by_text("Restoring", exact=True)).to_be_visible()
        # Whoever comes now is let in, and told the same.
        page.reload()
        sign_in(page, "#/events?subject=/&recursive=true")
        expect(notice).to_be_visible(timeout=TIMEOUT_MS)
        expect(page.get_by_text("restore-in-progress").first).to_be_visible()
    wait_until(lambda: not _is_locked(server))
    expect(page.get_by_role("heading", level=1)).to_have_text("Events")
    expect(page.get_by_text("A backup is being restored.")).to_have_count(0, timeout=TIMEOUT_MS)


def test_a_server_that_was_away_is_found_again(browser: Browser) -> None:
    with (
        running_server("--with-ui", is_temporary=True) as server,
        watched_page(browser, server.url) as (page, watch),
    ):
        watch.expect("ERR_|Failed to fetch")
        sign_in(page)
        expect(page.get_by_label("Health: Healthy")).to_be_visible(timeout=TIMEOUT_MS)
        page.context.set_offline(True)
        expect(page.get_by_label("Health: Unreachable")).to_be_visible(timeout=TIMEOUT_MS)
        expect(page.get_by_text("The server cannot be reached.").first).to_be_visible()
        page.context.set_offline(False)
        expect(page.get_by_label("Health: Healthy")).to_be_visible(timeout=TIMEOUT_MS)
        expect(page.get_by_text("The server cannot be reached.")).to_have_count(0)


@pytest.mark.parametrize("fragment", ["#/write", "#/types"])
def test_where_nothing_can_be_written_no_form_offers_it(browser: Browser, fragment: str) -> None:
    with (
        running_server("--with-ui", "--read-only", is_temporary=True) as server,
        watched_page(browser, server.url) as (page, _),
    ):
        sign_in(page, fragment)
        expect(page.get_by_text("Read-only", exact=True)).to_be_visible()
        page.locator(".loading").first.wait_for(state="detached")
        expect(page.get_by_role("link", name="Write")).to_have_count(0)
        expect(page.get_by_role("button", name="Write\u2026")).to_have_count(0)
        expect(page.get_by_role("link", name="Register\u2026")).to_have_count(0)


def test_the_overview_tells_of_checks_options_and_certificates(browser: Browser) -> None:
    flags = ("--with-ui", "--query-time-limit=17")
    with (
        running_server(*flags, is_temporary=True) as server,
        watched_page(browser, server.url) as (page, _),
    ):
        sign_in(page)
        checks = page.get_by_role("region", name="Health checks")
        expect(checks).to_contain_text("store:writability")
        options = page.get_by_role("region", name="Options")
        row = options.get_by_role("row", name="query-time-limit")
        expect(row).to_contain_text("17")
        expect(row).to_contain_text("command line")
        expect(options.get_by_role("row", name="rate-limit")).to_have_count(0)
        options.get_by_role("button", name="All options").click()
        expect(options.get_by_role("row", name="rate-limit")).to_contain_text("default")
        expect(options.get_by_role("row", name="api-token", exact=False).first).to_contain_text(
            "redacted"
        )
        expect(page.get_by_role("region", name="Server")).to_contain_text("does not use HTTPS")
        # It is live: what somebody else does is seen without asking again.
        before = page.get_by_label("Figures").inner_text()
        assert "Observers" in before
        expect(page.locator("canvas")).to_have_count(6)

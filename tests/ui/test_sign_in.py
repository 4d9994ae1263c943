"""Signing in and out: the token is typed, kept in memory, and gone when it should be."""

import json
import signal
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from everlog.api.allowances import FAILURES_MAX
from tests.support.browser import Watch, sign_in, watched_page
from tests.support.server import DEADLINE_SECONDS, TOKEN, RunningServer, running_server

VERIFY = "/api/v2/system/verify-token"

KEPT = "JSON.stringify([Object.entries(sessionStorage), Object.entries(localStorage)])"


def kept_by(page: Page) -> str:
    return str(page.evaluate(KEPT))


def test_the_token_is_in_memory_and_a_reload_forgets_it(page: Page) -> None:
    sign_in(page)
    assert TOKEN not in kept_by(page)
    page.reload()
    expect(page.get_by_label("API token")).to_be_focused()


def test_a_tab_keeps_the_token_where_the_person_ticks_it(page: Page) -> None:
    page.goto("./")
    page.get_by_label("API token").fill(TOKEN)
    page.get_by_label("Keep me signed in").check()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert TOKEN in kept_by(page)
    page.reload()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API token")).to_be_visible()
    assert TOKEN not in kept_by(page)


@pytest.mark.parametrize(
    "token, said",
    [
        pytest.param("", "Type the token.", id="none"),
        pytest.param("wrong", "does not accept this token", id="wrong"),
        pytest.param("p\u00e4ssword", "letters, digits and signs of ASCII", id="not-ascii"),
    ],
)
def test_a_token_that_is_not_taken_is_told(page: Page, watch: Watch, token: str, said: str) -> None:
    watch.expect("401")
    page.goto("./")
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text(said)
    field = page.get_by_label("API token")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")


def test_a_link_is_followed_once_the_token_is_typed(page: Page) -> None:
    sign_in(page, "#/nowhere?x=1")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    assert page.url.endswith("#/nowhere?x=1")


def test_a_server_that_is_gone_is_told(browser: Browser) -> None:
    with (
        running_server("--with-ui", is_temporary=True) as server,
        watched_page(browser, server.url) as (page, watch),
    ):
        watch.expect("ERR_")
        page.goto("./")
        page.get_by_label("API token").fill(TOKEN)
        server.stop()
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")


def test_whoever_tries_too_often_is_told_when_to_try_again(browser: Browser) -> None:
    with (
        running_server("--with-ui", is_temporary=True) as server,
        watched_page(browser, server.url) as (page, watch),
    ):
        watch.expect("401|429")
        _use_up_attempts(server)
        page.goto("./")
        page.get_by_label("API token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("too many attempts")
        expect(page.get_by_role("alert")).to_contain_text("Try again in")


def _use_up_attempts(server: RunningServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    with closing(connection):
        for _ in range(2 * FAILURES_MAX):
            connection.request("POST", VERIFY, headers={"Authorization": "Bearer wrong"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 429:
                return
    pytest.fail("nothing was refused")


def test_a_token_that_was_exchanged_ends_the_session(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with (
        running_server("--with-ui", f"--api-token-file={file}", is_temporary=True) as server,
        watched_page(browser, server.url) as (page, watch),
    ):
        watch.expect("401")
        page.goto("./")
        page.get_by_label("API token").fill(TOKEN)
        page.get_by_label("Keep me signed in").check()
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Healthy")).to_be_visible()
        file.write_text("another-token-of-the-tests")
        _exchange(server)
        expect(page.get_by_text("does not accept this token any more")).to_be_visible()
        assert TOKEN not in kept_by(page)


def _exchange(server: RunningServer) -> None:
    server.ask_to_stop(signal.SIGHUP)


def test_name_version_and_badges_are_shown(browser: Browser) -> None:
    flags = ("--with-ui", "--ui-title=Orders, production", "--ui-colour=red", "--read-only")
    with (
        running_server(*flags) as server,
        watched_page(browser, server.url) as (page, _),
    ):
        page.goto("./")
        expect(page.get_by_text("Orders, production")).to_be_visible()
        sign_in(page)
        banner = page.get_by_role("note", name="This server")
        expect(banner).to_have_text("Orders, production")
        expect(banner).to_have_css("background-color", "rgb(179, 38, 30)")
        expect(page.get_by_text("Read-only", exact=True)).to_be_visible()
        expect(page.get_by_text("Version 0.")).to_be_visible()
        expect(page).to_have_title("Overview \u2013 Orders, production")
        expect(page.get_by_role("link", name="Write")).to_have_count(0)


def test_the_token_is_nowhere_but_in_headers(
    page: Page, watch: Watch, server: RunningServer
) -> None:
    sign_in(page)
    expect(page.get_by_text("Healthy")).to_be_visible()
    said = json.dumps([watch.urls, watch.messages, page.url, page.content(), kept_by(page)])
    assert TOKEN not in said
    assert TOKEN.encode() not in b"".join(server.output)

"""The management UI behind nginx under a path, with the file that is delivered for it.

Page, libraries, the API with QUERY, and a person with a browser who signs in there.
"""

import gzip
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.api import Connection, an_event
from tests.support.browser import sign_in, watched_page
from tests.support.proxy import running_nginx
from tests.support.server import RunningServer, running_server
from tests.support.sources import REPOSITORY

SNIPPET = REPOSITORY / "deploy" / "nginx" / "everlog-under-a-path.conf"
UPSTREAM = "http://127.0.0.1:3000/;"

# What else the host has.
HOST = """
server {{
    listen 127.0.0.1:{port};
    location = / {{ return 200 "another page"; }}
{snippet}
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", "--ui-title=Orders", is_temporary=True) as server:
        with Connection(server.url) as client:
            client.write(*(an_event(f"/orders/{number}") for number in range(3)))
        yield server


@pytest.fixture(scope="module")
def url(server: RunningServer) -> Iterator[str]:
    """Return the address that nginx has for all of it, with the path."""
    snippet = SNIPPET.read_text(encoding="utf-8")
    assert snippet.count(UPSTREAM) == 1
    snippet = snippet.replace(UPSTREAM, f"{server.url}/;")
    with running_nginx(lambda port: HOST.format(port=port, snippet=snippet)) as port:
        yield f"http://127.0.0.1:{port}/everlog/"


def test_who_leaves_out_the_slash_is_led_to_the_page(url: str) -> None:
    with Connection(url) as client:
        answer = client.ask("GET", "/everlog", headers={})

    assert (answer.status, answer.headers["Location"]) == (308, "/everlog/")


def test_pages_pass_as_the_server_sends_them(url: str, server: RunningServer) -> None:
    with Connection(url) as proxied, Connection(server.url) as direct:
        for path in ("", "app.js", "vendor/codemirror.js", "appearance.json"):
            headers = {"Accept-Encoding": "gzip"}
            answer = proxied.ask("GET", f"/everlog/{path}", headers=headers)
            expected = direct.ask("GET", f"/{path}", headers=headers)
            assert (answer.status, answer.body) == (200, expected.body)
            for name in ("Content-Security-Policy", "Content-Encoding", "ETag", "Cache-Control"):
                assert answer.headers[name] == expected.headers[name]
            headers["If-None-Match"] = answer.headers["ETag"]
            assert proxied.ask("GET", f"/everlog/{path}", headers=headers).status == 304
        compressed = proxied.ask("GET", "/everlog/app.js", headers={"Accept-Encoding": "gzip"})
        assert b"import" in gzip.decompress(compressed.body)
        # What else the host has is not ours.
        assert proxied.ask("GET", "/").text == "another page"


def test_the_api_answers_under_the_path_queries_included(url: str) -> None:
    body = {"subject": "/orders", "options": {"recursive": True}}
    with Connection(url) as client:
        answer = client.ask("QUERY", "/everlog/api/v2/data/read-events", body)
        assert [event["subject"] for event in answer.events] == [f"/orders/{n}" for n in range(3)]
        assert (
            client.ask("QUERY", "/everlog/api/v2/data/read-events", body, headers={}).status == 401
        )


@pytest.mark.slow
def test_a_person_signs_in_there_and_reads(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as (page, watch):
        sign_in(page)
        assert "Orders" in page.locator("body").inner_text()
        page.goto("./#/events?subject=/orders&recursive=true")
        page.get_by_text("/orders/2", exact=True).first.wait_for()
        assert all(asked.startswith((url, "blob:")) for asked in watch.urls), watch.urls

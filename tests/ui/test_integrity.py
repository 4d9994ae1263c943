"""Integrity: verified in the browser, by keys that a person gives; proofs that a verifier takes."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support.api import Connection, an_event
from tests.support.browser import Opening, sign_in, watched_page
from tests.support.server import RunningServer, run_to_end, running_server, wait_until

ORIGIN = "log.example.com/orders"
COUNT = 1_500


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a checkpoint key, and the verifier keys of it."""
    path = tmp_path_factory.mktemp("keys") / "checkpoint-key.pem"
    made = run_to_end("generate", "checkpoint-key", "--file", str(path), "--origin", ORIGIN)
    assert made.code == 0, made.errors
    return path, made.output


@pytest.fixture(scope="module")
def server(keys: tuple[Path, str]) -> Iterator[RunningServer]:
    flags = ("--checkpoint-key-file", str(keys[0]), "--checkpoint-origin", ORIGIN)
    with running_server("--with-ui", *flags, is_temporary=True) as running:
        with Connection(running.url) as connection:
            for first in range(0, COUNT, 500):
                connection.write(
                    *(an_event(f"/a/{n}", data={"n": n}) for n in range(first, first + 500))
                )
            wait_until(lambda: size_of(connection) == COUNT)
        yield running


def size_of(connection: Connection) -> int:
    answer = connection.ask("GET", "/api/v2/log/checkpoint")
    return int(answer.text.splitlines()[1]) if answer.status == 200 else 0


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def test_the_chain_of_the_whole_log_is_computed_in_the_browser(open_page: Opening) -> None:
    page = open_page("#/integrity")
    chain = card(page, "Hash chain")
    expect(card(page, "Last checkpoint").or_(card(page, "Checkpoint"))).to_contain_text(ORIGIN)
    chain.get_by_role("button", name="The whole log").click()
    expect(chain).to_contain_text("The chain is whole. 1,500 events")
    expect(chain).to_contain_text("Its root is that of these events")
    chain.get_by_role("button", name="The latest 1000").click()
    expect(chain).to_contain_text("The chain is whole. 1,000 events")
    assert "from=500" in page.url


def test_a_range_is_verified_and_one_that_is_none_refused(open_page: Opening) -> None:
    page = open_page("#/integrity")
    chain = card(page, "Hash chain")
    chain.get_by_label("From event").fill("7")
    chain.get_by_label("To event").fill("9")
    page.keyboard.press("Enter")
    expect(chain).to_contain_text("The chain is whole. 3 events")
    chain.get_by_label("To event").fill("5")
    page.keyboard.press("Enter")
    expect(chain.get_by_role("alert")).to_have_text("The range ends before it begins.")


FORGERIES = {
    "data": (rb'"data":{"n":7}', b'"data":{"n":8}', "Event 7 does not have|content of event 7"),
    "hash": (
        rb'("id":"7".*?"hash":")[0-9a-f]{4}',
        rb"\g<1>0000",
        "content of event 7 does not have the hash",
    ),
    "gap": (
        rb'\{"type":"event","data":\{"specversion":"1.0","id":"7",[^\n]*\n',
        b"",
        "Event 6 is followed by event 8",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_server_that_lies_is_found_out(
    browser: Browser, server: RunningServer, name: str
) -> None:
    pattern, replacement, said = FORGERIES[name]

    def forge(route: Route) -> None:
        answer = route.fetch()
        body = re.sub(pattern, replacement, answer.body(), count=1)
        assert body != answer.body()
        route.fulfill(response=answer, body=body)

    with watched_page(browser, server.url) as (page, _):
        sign_in(page, "#/integrity")
        page.route("**/read-events", forge)
        chain = card(page, "Hash chain")
        chain.get_by_label("To event").fill("20")
        chain.get_by_role("button", name="Verify").click()
        expect(chain.get_by_role("alert")).to_contain_text("The chain is broken.")
        expect(chain.get_by_role("alert")).to_contain_text(re.compile(said))


def test_a_checkpoint_is_verified_by_the_keys_of_a_person(
    open_page: Opening, keys: tuple[Path, str]
) -> None:
    page = open_page("#/integrity")
    checkpoint = card(page, "Checkpoint")
    signatures = checkpoint.get_by_role("list", name="Signatures").get_by_role("listitem")
    expect(signatures).to_have_text(
        [re.compile("not verified.*log, Ed25519"), re.compile("ML-DSA-44")]
    )
    checkpoint.get_by_label("Verifier keys").fill(keys[1])
    expect(signatures.nth(0)).to_contain_text("verified")
    expect(signatures.nth(0)).not_to_contain_text("not verified")
    expect(signatures.nth(1)).to_contain_text("not by a browser")
    # Another key of the same name has not signed it, and a broken one is none.
    checkpoint.get_by_label("Verifier keys").fill(f"{ORIGIN}+00000000+AAAA")
    expect(checkpoint.get_by_role("alert")).to_contain_text("Refused.")


def test_a_proof_is_one_that_the_offline_verifier_takes(
    open_page: Opening, keys: tuple[Path, str], tmp_path: Path
) -> None:
    page = open_page("#/integrity?event=42")
    proof = card(page, "Proof of an event")
    expect(proof).to_contain_text("Event 42 is proven. It is number 43 of the first 1,500 events")
    card(page, "Checkpoint").get_by_label("Verifier keys").fill(keys[1])
    expect(proof).to_contain_text(f"Signed by {ORIGIN}+")
    for name in ("event-42.json", "inclusion-proof-42.json", "checkpoint.txt"):
        with page.expect_download() as download:
            proof.get_by_role("button", name=name).click()
        shutil.copy(download.value.path(), tmp_path / name)
    ended = run_to_end(
        "verify",
        *("--event", str(tmp_path / "event-42.json")),
        *("--proof", str(tmp_path / "inclusion-proof-42.json")),
        *("--checkpoint", str(tmp_path / "checkpoint.txt")),
        *("--key", keys[1]),
    )
    assert ended.code == 0, ended.errors
    assert "It is event number 43 of the first 1500 events" in ended.output
    proof.get_by_label("Event").fill("9999")
    page.keyboard.press("Enter")
    expect(proof.get_by_role("alert")).to_contain_text("no event with the id 9999")


def test_a_checkpoint_of_before_shows_that_the_log_only_grew(
    open_page: Opening, server: RunningServer
) -> None:
    with Connection(server.url) as connection:
        kept = connection.ask("GET", "/api/v2/log/checkpoint").text
        before = size_of(connection)
        connection.write(an_event("/later"))
        wait_until(lambda: size_of(connection) > before)
    page = open_page("#/integrity")
    growth = card(page, "That the log only grew")
    growth.get_by_label("A checkpoint of before").fill(kept)
    growth.get_by_role("button", name="Compare").click()
    expect(growth).to_contain_text(
        "The log only grew. The first 1,500 events are still what they were"
    )
    size, root = kept.splitlines()[1:3]
    growth.get_by_label("A checkpoint of before").fill(
        kept.replace(f"\n{size}\n{root}", f"\n7\n{root}")
    )
    growth.get_by_role("button", name="Compare").click()
    expect(growth.get_by_role("alert")).to_contain_text(
        "have another root than that checkpoint says"
    )


def test_the_server_reads_its_store_again(open_page: Opening) -> None:
    page = open_page("#/integrity")
    store = card(page, "Stored data")
    store.get_by_role("button", name="Verify the store").click()
    expect(store).to_contain_text("The store is sound.")


def test_what_the_server_finds_is_told(open_page: Opening) -> None:
    found = "data: log/0.ndjson at byte 7, event 2: its hash is not that of its content [hash]"
    body = (
        '{"type":"heartbeat","data":{}}\n'
        f'{{"type":"verification","data":{{"errors":["{found}"],"warnings":["<b>w</b>"]}}}}\n'
        '{"type":"end","data":{}}\n'
    )
    page = open_page("#/integrity")
    page.route("**/verify-store", lambda route: route.fulfill(body=body))
    store = card(page, "Stored data")
    store.get_by_role("button", name="Verify the store").click()
    expect(store.get_by_role("alert")).to_contain_text("The store is not as it was written.")
    expect(store.get_by_role("list", name="Errors")).to_have_text(found)
    expect(store.get_by_role("list", name="Warnings")).to_have_text("<b>w</b>")


def test_where_there_is_no_checkpoint_that_is_said(browser: Browser) -> None:
    with running_server("--with-ui", is_temporary=True) as server:
        with Connection(server.url) as connection:
            connection.write(an_event("/a"))
        with watched_page(browser, server.url) as (page, watch):
            watch.expect("503")
            sign_in(page, "#/integrity?event=0")
            expect(card(page, "Checkpoint")).to_contain_text("without --checkpoint-key-file")
            expect(card(page, "Proof of an event")).to_contain_text("whose root nobody has signed")

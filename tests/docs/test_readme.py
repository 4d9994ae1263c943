"""The README's first screen is true: its session runs word for word, and says what it says."""

import json

from tests.docs.conftest import Checkout
from tests.support.pages import (
    DOCUMENTED_ADDRESS,
    code_blocks,
    read_page,
    run_script,
    with_placeholders,
)

SESSION_LINES_MAX = 15


def test_the_session_is_short_and_begins_with_make_run() -> None:
    start, session, _ = code_blocks(read_page("README.md"))

    assert start.text == "make run\n"
    assert session.language == "sh"
    assert len((start.text + session.text).splitlines()) <= SESSION_LINES_MAX


def test_make_run_starts_the_server_that_the_session_talks_to() -> None:
    # The fixture starts the same script with another port, since 3000 may be in use.
    assert "tools/run_development_server.py --port $(PORT)" in read_page("Makefile")
    assert "PORT ?= 3000" in read_page("Makefile")


def test_the_session_prints_what_the_page_shows(checkout: Checkout) -> None:
    page = read_page("README.md")
    _, session, shown = code_blocks(page)
    script = session.text.replace(DOCUMENTED_ADDRESS, checkout.address)

    output = run_script(["bash", "-eu"], script, directory=checkout.directory)
    written, read = split_answers(output)
    again = run_script(["bash", "-eu"], script, directory=checkout.directory)

    assert with_placeholders(read) == with_placeholders(shown.text)
    event, _ = read.splitlines()
    assert json.loads(written) == [json.loads(event)["payload"]]
    refusal = again.splitlines()[0]
    assert refusal == "state conflict: precondition failed"
    assert f"`{refusal}`" in page


def split_answers(output: str) -> tuple[str, str]:
    """Tell the array of the first answer from the lines of the others."""
    _, end = json.JSONDecoder().raw_decode(output)
    return output[:end], output[end:]

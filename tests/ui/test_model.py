"""What pages compute without a browser is tested in JavaScript, where it is written."""

import json
import re
import subprocess
from typing import Any

from everlog.eventql.diagnostic import QueryMalformedError
from everlog.eventql.language.lexer import RESERVED_WORDS, read_tokens
from everlog.eventql.types import CONVERSION_TARGETS
from tests.support.eventql.cases import file_cases, fixture_cases
from tests.support.sources import REPOSITORY

NODE = REPOSITORY / ".venv" / "bin" / "node"
TESTS = REPOSITORY / "tests" / "ui" / "model"
MODEL = REPOSITORY / "src" / "everlog" / "ui" / "browser" / "model"


def test_all_that_needs_no_browser_holds() -> None:
    command = [NODE, "--test", "--test-reporter=tap", *sorted(TESTS.glob("*.test.js"))]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    # No test is disabled, and Node found them.
    assert int(counts["pass"]) > 0
    assert counts["pass"] == counts["tests"]


def tokens_of(texts: list[str]) -> list[list[dict[str, Any]]]:
    """Return what the editor makes of texts of EventQL."""
    done = subprocess.run(
        [NODE, TESTS / "tokens.js"],
        input="".join(f"{json.dumps(text)}\n" for text in texts),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_editor_reads_the_tokens_that_the_server_reads() -> None:
    texts = [case.query for case in (*fixture_cases(), *file_cases())]
    found = dict(zip(texts, tokens_of(texts), strict=True))
    readable = 0
    for text, tokens in found.items():
        try:
            expected = [token.text for token in read_tokens(text)][:-1]
        except QueryMalformedError:
            # The editor goes on behind the fault, and marks it.
            assert any(token["style"] == "invalid" for token in tokens) or "/*" in text, text
        else:
            readable += 1
            assert [token["text"] for token in tokens] == expected, text
            assert all(token["style"] != "invalid" for token in tokens), text
    assert readable > 500


def test_the_editor_knows_the_words_that_the_server_knows() -> None:
    source = (MODEL / "highlight.js").read_text(encoding="utf-8")
    _, _, listed = source.partition("RESERVED_WORDS = [")
    words = set(re.findall(r"[A-Z]{2,}", listed.partition("];")[0]))
    types = re.search(r"TYPES = \[(.*?)\]", source)
    assert types is not None

    assert words == {str(word) for word in RESERVED_WORDS}
    assert re.findall(r"\w+", types[1]) == list(CONVERSION_TARGETS)

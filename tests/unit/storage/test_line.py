"""Lines: what is rendered is read back, and nothing else is taken for a line."""

import pytest

from everlog.storage.engine import Head
from everlog.storage.line import BATCH_END, Mark, parse_line, render_line
from tests.support.events import FIRST_TIME, a_candidate, accept_at

EVENT = accept_at(Head(), [a_candidate("/a", data='{"text":"\u00e9"}')], time=FIRST_TIME)[0]


@pytest.mark.parametrize("mark", list(Mark))
def test_a_line_is_read_back_as_it_was_rendered(mark: Mark) -> None:
    line = render_line(EVENT.json, mark)

    event, found = parse_line(line)

    assert found is mark
    assert (event.subject, event.type, event.hash) == (EVENT.subject, EVENT.type, EVENT.hash)
    assert bytes(event.data).decode() == '{"text":"\u00e9"}'
    assert line.endswith(BATCH_END) == (mark is Mark.BATCH)
    assert line.count(b"\n") == 1


LINE = render_line(EVENT.json, Mark.WRITE)

BROKEN = {
    "empty": b"",
    "a line feed only": b"\n",
    "without a line feed": LINE[:-1],
    "too many spaces": LINE[:-1] + b"  \n",
    "another beginning": b" " + LINE,
    "another type": LINE.replace(b'"event"', b'"other"', 1),
    "cut": LINE[:40] + b"\n",
    "zeros": bytes(len(LINE) - 1) + b"\n",
    "more behind": LINE[:-2] + b"x\n",
    "an unknown field": LINE.replace(b'"id"', b'"di"'),
    "a missing field": LINE.replace(b'"id":"0",', b""),
    "another type of value": LINE.replace(b'"id":"0"', b'"id":0'),
    "not UTF-8 in a field": LINE.replace(b"/a", b"/\xff"),
    "not UTF-8 in the data": LINE.replace("\u00e9".encode(), b"\xc3"),
    "nested too deep": LINE.replace(b'{"text"', b"[" * 10_000 + b'{"text"'),
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_refuses_what_is_no_line(line: bytes) -> None:
    with pytest.raises(ValueError, match="the line"):
        parse_line(line)

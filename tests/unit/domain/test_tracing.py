import pytest

from everlog.domain.errors import Code
from everlog.domain.limits import TRACESTATE_LENGTH_MAX, TRACESTATE_MEMBERS_MAX
from everlog.domain.tracing import parse_traceparent, parse_tracestate
from tests.support.refusals import check_refused

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


@pytest.mark.parametrize("text", [TRACEPARENT, f"00-{TRACE_ID}-{PARENT_ID}-ff"])
def test_accepts_a_traceparent(text: str) -> None:
    assert parse_traceparent(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"01-{TRACE_ID}-{PARENT_ID}-01",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
        f"00-{TRACE_ID}-{PARENT_ID}-0g",
        f"00-{TRACE_ID}-{PARENT_ID}-01-00",
        f"00-{TRACE_ID}{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"{TRACEPARENT}\n",
        f" {TRACEPARENT}",
    ],
)
def test_refuses_a_malformed_traceparent(text: str) -> None:
    check_refused(
        lambda: parse_traceparent(text),
        Code.TRACEPARENT_MALFORMED,
        message=text,
        field="traceparent",
    )


@pytest.mark.parametrize(
    "text",
    [
        "foo=bar",
        "a=1,b=2",
        "a=1 , b=2",
        "0=1",
        "tenant@system=x",
        "a_b-c*d/e=1",
        "a= 1",
        "a=1 2",
        'a=~!"#',
        "a=" + "v" * 256,
        "k" * 256 + "=v",
    ],
)
def test_accepts_a_tracestate(text: str) -> None:
    assert parse_tracestate(text, traceparent=TRACEPARENT) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a",
        "a=",
        "a= ",
        "=1",
        "A=1",
        "_a=1",
        "a b=1",
        "a =1",
        "a=1=2",
        "a=1,",
        ",a=1",
        "a=1,,b=2",
        "a=\u00fc",
        "a=\t",
        "a=1\n",
        "a=1,a=2",
        "a=" + "v" * 257,
        "k" * 257 + "=v",
    ],
)
def test_refuses_a_malformed_tracestate(text: str) -> None:
    check_refused(
        lambda: parse_tracestate(text, traceparent=TRACEPARENT),
        Code.TRACESTATE_MALFORMED,
        field="tracestate",
    )


def test_refuses_a_tracestate_without_a_traceparent() -> None:
    check_refused(
        lambda: parse_tracestate("a=1", traceparent=None),
        Code.TRACESTATE_WITHOUT_TRACEPARENT,
        message="traceparent is required when tracestate is provided",
        field="tracestate",
    )


def check_limit(at: str, above: str, limit: int) -> None:
    assert parse_tracestate(at, traceparent=TRACEPARENT) == at
    check_refused(
        lambda: parse_tracestate(above, traceparent=TRACEPARENT),
        Code.TRACESTATE_MALFORMED,
        message=str(limit),
        field="tracestate",
        limit=limit,
    )


def test_limits_the_length() -> None:
    text = "a=" + "v" * 253 + ",b=" + "v" * 254

    assert len(text) == TRACESTATE_LENGTH_MAX
    check_limit(text, f"{text}v", TRACESTATE_LENGTH_MAX)


def test_limits_the_members() -> None:
    members = [f"k{number}=v" for number in range(TRACESTATE_MEMBERS_MAX + 1)]

    check_limit(",".join(members[:-1]), ",".join(members), TRACESTATE_MEMBERS_MAX)

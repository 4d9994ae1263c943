"""What goes back to a client: framing, order, and the special methods."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from everlog.http import Admission, Endpoint, Exchange, Head, Request, Response
from tests.support.serving import Client, RecordingApplication, Serving, serving

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"


@pytest.fixture
def application() -> RecordingApplication:
    return RecordingApplication()


@pytest.fixture
def running(application: RecordingApplication) -> Iterator[Serving]:
    with serving(application) as running:
        yield running


@pytest.fixture
def client(running: Serving) -> Iterator[Client]:
    with Client(running.port) as client:
        yield client


def text(number: int) -> Response:
    return Response(200, b"%d" % number, b"text/plain")


def test_every_answer_says_who_and_when_and_how_long(client: Client) -> None:
    client.send(GET % b"x")

    answer = client.read_answer()
    assert answer.headers[b"server"] == b"Everlog/test"
    assert parsedate_to_datetime(answer.headers[b"date"].decode()).tzname() == "UTC"
    assert answer.headers[b"content-length"] == b"%d" % len(answer.body)
    assert answer.headers[b"content-type"] == b"text/plain"
    assert answer.headers[b"x-echo"] == b"1"
    assert b"connection" not in answer.headers


def test_who_cannot_be_answered_for_want_of_memory_does_not_wait(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    def render(_: Response) -> bytes:
        raise MemoryError

    running.server._renderer.render = render
    client.send(GET % b"x")

    assert client.is_closed_by_server()
    assert [type(error) for error in application.errors] == [MemoryError]
    running.wait_until(lambda: running.server.statistics().connections == 0)


def test_the_application_sees_the_request_as_it_was_sent(
    client: Client, application: RecordingApplication
) -> None:
    client.send(
        b"QUERY /a%20b//c?d=%2F?e HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n"
        b"X-Other: 1\r\nContent-TYPE: a/b\r\nContent-Length: 3\r\n\r\nabc"
    )

    client.read_answer()
    [request] = application.requests
    assert request.head.method == "QUERY"
    assert request.head.path == "/a%20b//c"
    assert request.head.query == "d=%2F?e"
    assert request.head.headers == {
        b"authorization": b"Bearer t",
        b"content-type": b"a/b",
    }
    assert request.head.peer == "127.0.0.1"
    assert request.body == b"abc"


def test_repeated_requests_are_told_apart(
    client: Client, application: RecordingApplication
) -> None:
    # The same head again and again, which is not parsed again; and others that resemble it.
    for path, token, body in [
        (b"a", b"1", b"xxx"),
        (b"a", b"1", b"yyy"),
        (b"a", b"1", b"zzz"),
        (b"b", b"1", b"zzz"),
        (b"b", b"2", b"zzz"),
        (b"b", b"2", b"zzz"),
        (b"b", b"2", b"longer than before"),
        (b"b", b"2", b""),
        (b"b", b"2", b"yyy"),
        (b"a", b"1", b"xxx"),
    ]:
        client.send(
            b"POST /%b HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (path, token, len(body), body)
        )

        assert client.read_answer().body == b"POST /%b?\n%b" % (path, body)
        assert application.requests[-1].head.headers == {b"authorization": token}


def test_answers_leave_in_the_order_of_the_requests(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    client.send(b"".join(GET % b"later" for _ in range(5)) + GET % b"echo")
    running.wait_until(lambda: len(application.waiting) == 5)

    for number in (3, 1, 4, 2, 0):
        running.call(lambda number=number: application.waiting[number].respond(text(number)))

    assert [client.read_answer().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert client.read_answer().body == b"GET /echo?\n"


def test_a_stream_waits_for_its_turn_and_others_for_its_end(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    client.send(GET % b"later" + GET % b"numbers?2" + GET % b"numbers?0" + GET % b"echo")
    running.wait_until(lambda: len(application.waiting) == 1)

    running.call(lambda: application.waiting[0].respond(text(7)))

    bodies = [client.read_answer().body for _ in range(4)]
    assert bodies == [b"7", b"number 0\nnumber 1\n", b"", b"GET /echo?\n"]


def test_more_requests_than_the_limit_wait_in_the_socket(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    # Far more than are read ahead, in several packets.
    client.send(b"".join(GET % b"later?%d" % number for number in range(3_000)))
    running.wait_until(lambda: len(application.waiting) >= 64)
    assert running.call(lambda: len(application.waiting)) < 1_000

    for number in range(3_000):
        running.wait_until(lambda number=number: len(application.waiting) > number)
        running.call(lambda number=number: application.waiting[number].respond(text(number)))
        # Whoever does not read its answers is not asked for more requests.
        assert int(client.read_answer().body) == number


def test_the_last_request_of_a_full_queue_ends_the_connection(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    last = b"GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    client.send((GET % b"later") * 63 + last)
    running.wait_until(lambda: len(application.waiting) == 64)

    for number in range(64):
        running.call(lambda number=number: application.waiting[number].respond(text(number)))

    assert [int(client.read_answer().body) for _ in range(64)] == list(range(64))
    assert client.receive_all() == b""


def test_requests_before_an_error_are_answered_first(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    client.send(GET % b"later" + b"nonsense\r\n\r\n" + GET % b"never")
    running.wait_until(lambda: bool(application.refusals))

    running.call(lambda: application.waiting[0].respond(text(1)))

    assert client.read_answer().body == b"1"
    assert client.read_answer().status == 400
    assert client.receive_all() == b""
    assert [head.path for head in application.heads] == ["/later"]


@pytest.mark.parametrize("path", [b"echo", b"numbers", b"missing", b"refused"])
def test_head_gets_the_headers_of_get_without_a_body(client: Client, path: bytes) -> None:
    client.send(GET % path)
    expected = client.read_answer()

    client.send(b"HEAD /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    answer = client.read_answer("HEAD")

    assert answer.status == expected.status
    assert answer.headers.keys() == expected.headers.keys()
    assert answer.body == b""
    client.send(GET % b"next")
    assert client.read_answer().body == b"GET /next?\n"


def test_head_keeps_the_length_of_the_body(client: Client) -> None:
    client.send(b"HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n")

    length = client.read_answer("HEAD").headers[b"content-length"]
    assert int(length) == len(b"HEAD /echo?\n")


def test_an_error_answer_to_head_has_no_body(client: Client) -> None:
    client.send(b"HEAD /echo HTTP/1.1\r\nX : y\r\n\r\n")

    assert client.receive_all().endswith(b"\r\n\r\n")


def test_no_content_has_no_length(client: Client) -> None:
    client.send(GET % b"empty")

    answer = client.read_answer()
    assert answer.status == 204
    assert not answer.headers.keys() & {b"content-length", b"content-type", b"transfer-encoding"}


def test_consent_is_given_before_the_body_is_sent(client: Client) -> None:
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    client.send(b"abc")

    assert client.read_answer().body == b"POST /x?\nabc"


def test_consent_waits_for_earlier_answers(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    client.send(
        GET % b"later"
        + b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    running.wait_until(lambda: len(application.heads) == 2)
    running.call(lambda: application.waiting[0].respond(text(1)))
    assert client.read_answer().body == b"1"

    client.send(b"abc")

    answer = client.read_answer()
    assert answer.statuses_before == [100]
    assert answer.body == b"POST /x?\nabc"


def test_an_expectation_of_http_1_0_is_ignored(client: Client) -> None:
    client.send(b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")

    assert client.read_answer().statuses_before == []


@pytest.mark.parametrize("path, status", [(b"refused", 401), (b"small", 413)])
def test_a_refused_request_gets_no_consent(client: Client, path: bytes, status: int) -> None:
    client.send(
        b"POST /%b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n" % path
    )

    answer = client.read_answer()
    assert (answer.status, answer.statuses_before) == (status, [])
    assert client.receive_all() == b""


def test_an_answer_to_http_1_0_that_stays_says_so(client: Client) -> None:
    client.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    assert client.read_answer().headers[b"connection"] == b"keep-alive"


def test_a_stream_to_http_1_0_ends_with_the_connection(client: Client) -> None:
    client.send(b"GET /numbers?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    head, _, body = client.receive_all().partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"Transfer-Encoding" not in head
    assert body == b"number 0\nnumber 1\n"


def test_a_large_answer_is_whole(client: Client) -> None:
    body = b"x" * 900_000
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + body)

    assert client.read_answer().body == b"POST /x?\n" + body


def test_a_refusal_is_readable_while_the_client_still_sends(client: Client) -> None:
    # More than the sockets can hold: without draining, this would end in a reset.
    client.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
    client.send(b"x" * 4_000_000)

    answer = client.read_answer()
    assert answer.status == 413
    assert b"10" in answer.body
    assert client.receive_all() == b""


def test_a_header_with_a_line_break_is_a_bug_of_the_application(
    client: Client, running: Serving, application: RecordingApplication
) -> None:
    client.send(GET % b"later")
    running.wait_until(lambda: len(application.waiting) == 1)
    split = Response(200, b"", b"text/plain", ((b"X", b"a\r\nSet-Cookie: b"),))

    with pytest.raises(ValueError, match="line break"):
        running.call(lambda: application.waiting[0].respond(split))

    running.call(lambda: application.waiting[0].respond(text(1)))
    assert client.read_answer().body == b"1"


def test_bugs_of_the_application_are_reported(
    client: Client, application: RecordingApplication
) -> None:
    client.send(GET % b"broken" + GET % b"unroutable")

    assert [client.read_answer().status for _ in range(2)] == [500, 500]
    assert [type(error) for error in application.errors] == [ValueError, LookupError]


def test_an_error_far_into_a_packet_is_found(client: Client) -> None:
    filling = GET % (b"x" * 1_000)
    client.send(filling * 20 + b"nonsense\r\n\r\n" + filling * 20)

    assert [client.read_answer().status for _ in range(21)] == [200] * 20 + [400]
    assert client.receive_all() == b""


class AdmittingApplication(RecordingApplication):
    """Is not asked again about a head that it knows, until it has another epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = object()
        self.body_size_max = 100

    def route(self, head: Head) -> Endpoint | Response:
        self.heads.append(head)
        endpoint = Endpoint(self.echo, self.body_size_max)
        head.admission = Admission(endpoint, self)
        return endpoint


def test_a_head_that_is_admitted_is_not_asked_about_until_the_epoch_ends() -> None:
    application = AdmittingApplication()
    with serving(application) as running, Client(running.port) as client:
        for epoch in range(3):
            for _ in range(4):
                client.send(POST % (3, b"abc"))
                assert client.read_answer().body == b"POST /x?\nabc"
            assert len(application.heads) == epoch + 1

            application.epoch = object()

        application.body_size_max = 2
        client.send(POST % (3, b"abc"))
        assert client.read_answer().status == 413


def test_a_head_that_is_admitted_may_not_have_any_body() -> None:
    application = AdmittingApplication()
    with serving(application) as running, Client(running.port) as client:
        for size, status in [(100, 200)] * 4 + [(101, 413), (100, 200)]:
            client.send(POST % (size, b"x" * size))
            assert client.read_answer().status == status
        assert len(application.heads) == 1
        assert len(application.requests) == 5


class RefusingApplication(RecordingApplication):
    """Has an endpoint that raises, and knows what to say to one kind of error."""

    def route(self, head: Head) -> Endpoint | Response:
        self.heads.append(head)
        return Endpoint(self.raise_what_is_asked_for, 100, None, self.refuse)

    def raise_what_is_asked_for(self, request: Request, exchange: Exchange) -> None:
        if request.head.path == "/late":
            exchange.respond(text(1))
        raise {"/known": LookupError, "/worse": KeyError}.get(request.head.path, ValueError)

    def refuse(self, exchange: Exchange, error: Exception) -> bool:
        if isinstance(error, KeyError):
            raise ZeroDivisionError from error
        if isinstance(error, LookupError):
            exchange.respond(Response(409, b"", b""))
            return True
        return False


def test_what_an_endpoint_raises_is_refused_or_a_bug() -> None:
    application = RefusingApplication()
    with serving(application) as running, Client(running.port) as client:
        client.send(b"".join(GET % path for path in (b"known", b"other", b"worse", b"late")))

        assert [client.read_answer().status for _ in range(4)] == [409, 500, 500, 200]
        errors = [type(error) for error in application.errors]
        assert errors == [ValueError, ZeroDivisionError, ValueError]


class HastyApplication(RecordingApplication):
    """Answers, and fails then."""

    def echo(self, request: Request, exchange: Exchange) -> None:
        super().echo(request, exchange)
        raise ValueError("too late")


def test_a_bug_after_the_answer_does_not_change_it() -> None:
    application = HastyApplication()
    with serving(application) as running, Client(running.port) as client:
        client.send(GET % b"x" + GET % b"y")

        assert client.read_answer().body == b"GET /x?\n"
        assert client.read_answer().body == b"GET /y?\n"
        assert [str(error) for error in application.errors] == ["too late"] * 2


class SpeechlessApplication(RecordingApplication):
    """Cannot even say what is wrong."""

    def render_error(self, status: int, reason: str) -> Response:
        del status, reason
        raise RuntimeError("no words")


def test_an_error_without_words_keeps_its_status() -> None:
    application = SpeechlessApplication()
    with serving(application) as running, Client(running.port) as client:
        client.send(b"nonsense\r\n\r\n")

        answer = client.read_answer()
        assert (answer.status, answer.body) == (400, b"")
        assert [type(error) for error in application.errors] == [RuntimeError]

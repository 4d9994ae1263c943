"""Numbers near the ends of a double's range, which decoders may take long for; a watchdog looks.

An event full of them once held up all clients for 0.4 seconds.
"""

import json

from tests.support.api import Connection, an_event
from tests.support.server import running_server

NUMBERS = [b"1e308"] * 21_000, [b"4.9e-324"] * 14_000, [b"1.7976931348623157e308"] * 5_600


def test_a_large_event_of_extreme_numbers_holds_up_nobody() -> None:
    with running_server() as server, Connection(server.url) as client:
        schema = {"type": "object", "properties": {"n": {"type": "array"}}}
        typed = {"eventType": "io.everlog.numbers", "schema": schema}
        assert client.v1("register-event-schema", typed).status == 200
        for number, numbers in enumerate(NUMBERS):
            data = b'{"n":[%b]}' % b",".join(numbers)
            event = json.dumps(an_event(f"/{number}", "io.everlog.numbers", data=None)).encode()
            body = b'{"events":[%b]}' % event.replace(b"null", data)
            assert client.ask("POST", "/api/v1/write-events", body).status == 200

        query = "FROM e IN events WHERE e.data.n CONTAINS 1e308 PROJECT INTO e.subject"
        items = client.v1("run-eventql-query", {"query": query}).items

    assert [item["payload"] for item in items] == ["/0"]

"""Small logs that the cases of EventQL are about, each made for a family of questions.

A corpus is stored lines, as an engine has them, with the names that the log knows. Event types
and subjects are taken as they are: what may be written is not the question here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.domain.event import EventCandidate, accept_event
from everlog.domain.subject import ancestors
from everlog.domain.time import format_time
from everlog.storage.line import Mark, render_line

# 2024-02-28T22:00:00.000000001Z: a leap day follows, so that days, months and years differ.
FIRST_TIME = 1_709_157_600_000_000_001
HOUR = 3_600_000_000_000
NOW = "2026-03-01T10:20:30.000000004Z"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Written(NamedTuple):
    """What a corpus says about one event."""

    type: str
    subject: str
    data: str
    time: int | None = None
    traceparent: str | None = None
    tracestate: str | None = None


@dataclass(frozen=True)
class Corpus:
    """A log, and the time of the queries about it."""

    lines: tuple[bytes, ...]
    # Event types that have a schema but no event.
    schema_types: tuple[str, ...] = ()
    now: str = NOW

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The events, decoded."""
        return [json.loads(line)["payload"] for line in self.lines]

    @cached_property
    def subjects(self) -> list[str]:
        """All subjects, intermediate ones too, in their order."""
        names = {event["subject"] for event in self.events}
        return sorted(names.union(*(ancestors(name) for name in names)))

    @cached_property
    def event_types(self) -> list[str]:
        """All event types, in their order."""
        return sorted({event["type"] for event in self.events} | {*self.schema_types})


def make_corpus(written: Sequence[Written], *, schema_types: Sequence[str] = ()) -> Corpus:
    """Store events, one hour after the other unless they say when."""
    lines: list[bytes] = []
    previous_hash = GENESIS_HASH
    for position, each in enumerate(written):
        time = FIRST_TIME + position * HOUR if each.time is None else each.time
        event = accept_event(
            EventCandidate(
                source="https://everlog.test",
                subject=each.subject,
                type=each.type,
                data=each.data,
                traceparent=each.traceparent,
                tracestate=each.tracestate,
            ),
            position=position,
            time=format_time(time),
            predecessor_hash=previous_hash,
            hash_version=HashVersion.V2,
        )
        previous_hash = event.hash
        # All marks are met, since they stand behind the JSON that a query reads.
        lines.append(render_line(event.json, Mark(position % 3)))
    return Corpus(tuple(lines), tuple(schema_types))


def values_of_x(*texts: str) -> list[Written]:
    """Make one event for each JSON text, as field `x`; an empty text leaves the field out."""
    return [
        Written("test.x", f"/x/{number}", f'{{"x":{text}}}' if text else "{}")
        for number, text in enumerate(texts)
    ]


LIBRARY = "io.eventsourcingdb.library"

# A title with a dash that is not ASCII.
ODYSSEY = '{"title":"2001 \\u2013 A Space Odyssey","isbn":"978-0756906788","price":12.5,"total":99}'
RAMA = '{"title":"Rama","isbn":"978-0553287899","price":25,"total":250,"foobar":"order-1"}'

library = make_corpus(
    [
        Written(f"{LIBRARY}.book-acquired", "/books/42", ODYSSEY),
        Written(f"{LIBRARY}.book-acquired", "/books/4711", RAMA, None, TRACEPARENT),
        Written(f"{LIBRARY}.book-borrowed", "/books/42", '{"borrowedBy":"/readers/23"}'),
        Written(f"{LIBRARY}.book-borrowed", "/books/4711", '{"borrowedBy":"/readers/24"}'),
        Written(f"{LIBRARY}.book-returned", "/books/42", "{}", None, TRACEPARENT, "a=b"),
        Written(f"{LIBRARY}.book-borrowed", "/books/42", '{"borrowedBy":"/readers/23"}'),
        Written(f"{LIBRARY}.book-acquired", "/books/42/parts/1", '{"price":20,"total":100}'),
        Written(f"{LIBRARY}.reader-joined", "/readers/23", '{"flag":true,"price":null}'),
    ],
    schema_types=[f"{LIBRARY}.book-lost"],
)

departments = make_corpus(
    [
        Written("test.hired", subject, f'{{"id":{id_},"department":"{name}","salary":{salary}}}')
        for id_, subject, name, salary in (
            (1, "/krispy/sfo/employees", "engineering", 95_000),
            (2, "/krispy/nyc/employees", "engineering", 110_000),
            (3, "/krispy/sfo/employees", "engineering", 88_000),
            (4, "/krispy/sfo/employees", "sales", 75_000),
            (5, "/krispy/nyc/employees", "sales", 82_000),
            (6, "/krispy/sfo/employees", "marketing", 70_000),
        )
    ]
)

# Events as clients write them that keep tags, steps and payloads of their own in `data`.
tagged = make_corpus(
    [
        Written("events.dcb.A", "/a", '{"tags":["foo:bar"],"payload":"p0","recorded_at":"r0"}'),
        Written("events.dcb.B", "/b", '{"tags":["foo:bar","x"],"payload":{"n":1}}'),
        Written("events.dcb.B", "/b", '{"tags":[],"payload":2,"metadata":{"k":"v"}}'),
        Written("events.dcb.A", "/a", '{"payload":"p3"}'),
        Written("flowcrafter.flow.schema.v1", "/flow", '{"v":1}'),
        Written(
            "flowcrafter.flow.instance.v1", "/flow/abc", '{"flowSource":"App\\\\Flow\\\\OrderFlow"}'
        ),
        Written("flowcrafter.flow.instance.v1", "/flow/def", '{"flowSource":null,"n":2}'),
        Written("club.tank-registered.v1", "/tanks/1", '{"a":1,"b":2}'),
        Written("events.dcb.A", "/a", '{"a":1,"b":3}'),
        Written("events.dcb.A", "/a", '{"a":2,"b":2}'),
        Written("events.dcb.B", "/a", '{"tags":["foo:bar"],"foo":"foobar","baz":42}'),
    ]
)

# A value of each kind, and neighbours that are easily taken for each other.
kinds = make_corpus(
    values_of_x(
        "null",  # 0
        "",  # 1
        "false",  # 2
        "true",  # 3
        "-1",  # 4
        "1",  # 5
        "1.0",  # 6
        "1.5",  # 7
        "9007199254740993",  # 8
        "12345678901234567890",  # 9
        '""',  # 10
        '"a"',  # 11
        '"1"',  # 12
        "[]",  # 13
        '[1,"a",null]',  # 14
        "{}",  # 15
        '{"a":1,"b":[true]}',  # 16
        '{"b":[true],"a":1.0}',  # 17
    )
)

# Equal keys far apart, for everything that keeps or loses an order.
ties = make_corpus(
    [
        Written("test.tie", f"/ties/{number}", f'{{"k":{key},"n":{number}}}')
        for number, key in enumerate(("2", "1", "2.0", "null", "1", '"1"', "null", "2"))
    ]
)

# Enough events that ids as texts and as numbers have different orders.
dozen = make_corpus([Written("test.n", f"/n/{n % 3}", f'{{"n":{n}}}') for n in range(12)])

two_values = make_corpus(
    [
        Written("io.eventsourcingdb.test", "/test", '{"value":23}'),
        Written("io.eventsourcingdb.test", "/test", '{"value":42}'),
    ]
)

# Types as examples name them, and a price that is none.
plain = make_corpus(
    [
        Written("user-created", "/users/1", '{"username":"ada"}'),
        Written("user-deleted", "/users/1", "{}"),
        Written("order-placed", "/orders/1", '{"price":101}'),
        Written("user-created", "/users/2", '{"username":"grace","age":31}'),
        Written("order-placed", "/orders/2", '{"price":"expensive"}'),
        Written("a", "/users/2", '{"age":30,"count":3}'),
        Written("b", "/users/1", '{"age":64,"count":4,"price":2}'),
    ]
)

# Flags that are TRUE until one is missing.
flags = make_corpus(
    [
        Written("test.flag", "/flags", data)
        for data in ('{"flag":true}', '{"flag":false}', '{"flag":true}', "{}", '{"flag":true}')
    ]
)

# Neighbours in time: nanoseconds, the ends of a day, a month, a year.
moments = make_corpus(
    [
        Written("test.moment", "/moments", data, time)
        for time, data in (
            (1_704_067_199_999_999_998, '{"at":"2023-12-31T23:59:59.999999998Z"}'),
            (1_704_067_199_999_999_999, '{"at":"2024-01-01T01:59:59.999999999+02:00"}'),
            (1_704_067_200_000_000_001, '{"at":"2024-01-01T00:00:00.000000001Z"}'),
            (1_704_067_200_000_000_001, '{"at":"2024-01-01T00:00:00Z"}'),
            (1_709_208_000_500_000_000, '{"at":"2024-02-29T12:00:00.5Z","day":"2024-02-29"}'),
            (1_735_689_599_000_000_010, '{"at":"2024-12-31T18:59:59.00000001-05:00"}'),
        )
    ]
)

# One event, for cases about one expression.
one = make_corpus(
    [
        Written(
            "test.one",
            "/one",
            '{"null":null,"true":true,"false":false,"zero":0,"int":7,"minus":-7,"float":2.5,'
            '"whole":2.0,"exponent":1e2,"big":9223372036854775807,"small":-9223372036854775808,'
            '"huge":9223372036854775808,"max":1.7976931348623157e308,"tiny":5e-324,'
            '"text":"Hello","empty":"","digits":"42","padded":" 42 ",'
            '"word":"h\\u00e9llo w\\u00f6rld","astral":"a\\ud83d\\ude00b","quote":"it\'s \\"so\\"",'
            '"array":[1,2.5,"a",null,[1],{"k":1}],"none":[],"record":{"a":{"b":{"c":1}}},'
            '"date":"2024-02-29","time":"12:34:56.789","moment":"2024-02-29T12:34:56.789Z",'
            '"first-name":"Ada","42":"forty-two","SELECT":1,"where":2,"Int":8}',
            # Thursday, 2024-02-29.
            1_709_210_096_123_456_789,
        )
    ]
)

# Names that a program might stumble over, names that are written with escapes or twice, and one
# name that is something else each time.
fields = make_corpus(
    [
        Written(
            "test.fields",
            "/fields",
            '{"__class__":1,"class":2,"def":3,"a.b":4,"x-y":5,"":6,"\\u00fc":7,"self":8,"None":9,'
            '"_x":10,"0":11,"it\'s":12,"\\u0041":13,"b\\\\c":14,"twice":1,"twice":15,'
            '"\\"":16,"data":{"data":{"data":17}},"event":18,"\\ud83d\\ude00":19,"e":20}',
        ),
        Written("test.fields", "/fields", '{"a":{"b":{"c":1}}}'),
        Written("test.fields", "/fields", '{"a":{"b":2}}'),
        Written("test.fields", "/fields", '{"a":"b"}'),
        Written("test.fields", "/fields", '{"a":[{"b":1}]}'),
        Written("test.fields", "/fields", '{"a":null}'),
        Written("test.fields", "/fields", "{}"),
        Written("test.fields", "/fields", '{"a":{"b":[9223372036854775808,1e2,-0.0,{"c":2.50}]}}'),
        Written("test.fields", "/fields", '{"a":{"b":"\\u0041\\/\\n\\ud83d\\ude00\\\\\\""}}'),
        Written("test.fields", "/fields", '{"a":{"b":123456789012345678901234567890}}'),
    ]
)

CORPORA: dict[str, Corpus] = {
    "empty": make_corpus([]),
    "library": library,
    "departments": departments,
    "tagged": tagged,
    "kinds": kinds,
    "ties": ties,
    "dozen": dozen,
    "two values": two_values,
    "plain": plain,
    "flags": flags,
    "moments": moments,
    "fields": fields,
    "one": one,
}

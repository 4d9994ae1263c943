"""Random small logs, made as real ones are.

The same few types and subjects come again and again; fields are mostly there, and mostly of one
kind.
"""

import json
import random
from collections.abc import Mapping
from typing import Any, Final

from tests.support.eventql.corpora import HOUR, TRACEPARENT, Corpus, Written, make_corpus
from tests.support.eventql.generator import Sort, Vocabulary

EVENT_TYPES: Final = ("test.order-placed", "test.order-paid", "test.user-joined", "test.user-left")
SUBJECTS: Final = ("/", "/orders/1", "/orders/2", "/orders/2/lines", "/users/1", "/users-old")
WORDS: Final = ("", "a", "A", "ab", "b\u00e9", "\U0001f600", "10", "9", "true", " pad ", 'q"\\')
NUMBERS: Final = (0, 1, 2, 3, 2.5, 1.0, -1, -2.5, 10, 100, 2**53 + 1, 2**63 - 1, 1e300, 0.1)
# Numbers as they may be written; those beyond 64 bits are FLOAT64.
NUMBER_TEXTS: Final = (
    *(json.dumps(number) for number in NUMBERS),
    *("1e2", "-0.0", "9223372036854775808", "1.50", "5e-324", "-9223372036854775808"),
)
# Stored like any other, and an error of whoever reads it.
BEYOND_FLOAT64: Final = "-" + "9" * 400
TIME_STEPS: Final = (
    0,
    0,
    1,
    999_999_999,
    1_000_000_000,
    60_000_000_000,
    HOUR,
    24 * HOUR,
    700 * HOUR,
)

FIELDS: Final[Mapping[tuple[str, ...], Sort]] = {
    ("price",): Sort.NUMBER,
    ("count",): Sort.NUMBER,
    ("name",): Sort.STRING,
    ("flag",): Sort.BOOLEAN,
    ("tags",): Sort.ARRAY,
    ("any",): Sort.MIXED,
    ("odd key",): Sort.STRING,
    ("at", "city"): Sort.STRING,
    ("at", "level"): Sort.NUMBER,
}


def random_corpus(rng: random.Random) -> Corpus:
    """Make a log of up to 30 events."""
    written: list[Written] = []
    # Whether a field is there, and whether it is of its kind, are habits of whoever writes.
    absence = rng.choice((0.0, 0.1, 0.5))
    surprise = rng.choice((0.0, 0.0, 0.03, 0.3))
    time = 1_704_067_199_000_000_001
    for _ in range(rng.choice((0, 1, 3, 5, 7, 9, 12, 12, 30))):
        time += rng.choice(TIME_STEPS)
        # No event has the time of a whole second.
        time += not time % 1_000_000_000
        has_trace = rng.random() < 0.2
        written.append(
            Written(
                rng.choice(EVENT_TYPES),
                rng.choice(SUBJECTS),
                random_data(rng, absence=absence, surprise=surprise),
                time,
                TRACEPARENT if has_trace else None,
                "a=b" if has_trace and rng.random() < 0.5 else None,
            )
        )
    return make_corpus(written, schema_types=["test.never-happened"])


def random_data(rng: random.Random, *, absence: float, surprise: float) -> str:
    """Make the data of one event; fields stand in any order."""
    names = sorted({name for name, *_ in FIELDS})
    members = [
        f"{json.dumps(name)}:{random_field(rng, name, surprise=surprise)}"
        for name in rng.sample(names, len(names))
        if rng.random() >= absence
    ]
    return f"{{{','.join(members)}}}"


def random_field(rng: random.Random, name: str, *, surprise: float) -> str:
    """Make the value of a field, as a text; now and then one that nobody expects there."""
    if rng.random() < surprise:
        return random_json(rng, depth=2)
    if name == "at":
        city, level = rng.choice(WORDS), rng.choice(NUMBER_TEXTS[:6])
        return f'{{"level":{level},"city":{json.dumps(city)}}}'
    match FIELDS[name,]:
        case Sort.NUMBER:
            small = NUMBER_TEXTS[:9]
            return rng.choice(small if rng.random() < 0.9 else NUMBER_TEXTS)
        case Sort.STRING:
            return json.dumps(rng.choice(WORDS), ensure_ascii=rng.random() < 0.5)
        case Sort.BOOLEAN:
            return rng.choice(("true", "false"))
        case Sort.ARRAY:
            items = (random_json(rng, depth=0) for _ in range(rng.randrange(3)))
            return f"[{','.join(items)}]"
        case _:
            return random_json(rng, depth=2)


def random_json(rng: random.Random, *, depth: int) -> str:
    """Make any JSON value."""
    match rng.randrange(8 if depth else 6):
        case 0:
            return "null"
        case 1:
            return rng.choice(("true", "false"))
        case 2 | 3:
            return BEYOND_FLOAT64 if rng.random() < 0.02 else rng.choice(NUMBER_TEXTS)
        case 4 | 5:
            return json.dumps(rng.choice(WORDS))
        case 6:
            items = (random_json(rng, depth=depth - 1) for _ in range(rng.randrange(3)))
            return f"[{','.join(items)}]"
        case _:
            keys = rng.sample(("a", "b", "city", "x y"), rng.randrange(3))
            entries = (f"{json.dumps(key)}:{random_json(rng, depth=depth - 1)}" for key in keys)
            return f"{{{','.join(entries)}}}"


def vocabulary_of(corpus: Corpus) -> Vocabulary:
    """Return what there is to talk about."""
    times: list[Any] = [event["time"] for event in corpus.events]
    return Vocabulary(
        event_types=(*EVENT_TYPES, "test.never-happened", "test.unknown"),
        subjects=(*SUBJECTS, "/orders", "/unknown"),
        times=(*times, "2024-01-01T00:00:00Z", "2024-02-01T01:00:00.000000001+01:00"),
        id_stop=len(corpus.events),
        fields=FIELDS,
        words=(*WORDS[1:4], "10", "9"),
        numbers=NUMBERS,
    )

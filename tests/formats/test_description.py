"""The page about the data format is right: the fixture is read by what the page says alone."""

import json
import struct
import zlib
from hashlib import sha256
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "version-1"
FIXTURE = FIXTURES / "with-segments-of-subjects"
INDEX = FIXTURE / "index"
OLDER_INDEX = FIXTURES / "with-index" / "index"


def lines_of_the_log() -> list[bytes]:
    segments = sorted((FIXTURE / "log").iterdir())
    return b"".join(path.read_bytes() for path in segments).splitlines(keepends=True)


def payloads() -> list[dict[str, str]]:
    return [json.loads(line)["payload"] for line in lines_of_the_log()]


def cells(name: str, code: str, count: int) -> list[int]:
    content = (INDEX / name).read_bytes()
    return list(struct.unpack_from(f"<{count}{code}", content))


def data_of(line: bytes) -> str:
    """Return the text of `data`, which stands between known members."""
    text = line.decode()
    return text[text.index('"data":') + 7 : text.rindex(',"predecessorhash":')]


def hash_of(event: dict[str, str], data: str) -> str:
    members = ("specversion", "id", "predecessorhash", "time", "source", "subject", "type")
    values = [event[name] for name in (*members, "datacontenttype")]
    if event["hash"].startswith("esdb:hash:v2:"):
        tracing = [event.get(name, "-") for name in ("traceparent", "tracestate")]
        text = "\n".join(["esdb:hash:v2:", *values, *tracing, data])
        return "esdb:hash:v2:" + sha256(text.encode()).hexdigest()
    digests = (sha256(text.encode()).hexdigest() for text in ("|".join(values), data))
    return sha256("".join(digests).encode()).hexdigest()


def test_every_event_is_chained_as_the_page_says() -> None:
    previous = "0" * 64
    for line, event in zip(lines_of_the_log(), payloads(), strict=True):
        assert event["predecessorhash"] == previous
        assert event["hash"] == hash_of(event, data_of(line))
        previous = event["hash"]


def test_the_durable_bound_is_laid_out_as_the_page_says() -> None:
    content = (FIXTURE / "durable").read_bytes()

    event_count, log_size, schemas_size, checksum = struct.unpack("<QQQI", content)

    assert event_count == len(payloads())
    assert log_size == sum(map(len, lines_of_the_log()))
    assert schemas_size == (FIXTURE / "schemas.ndjson").stat().st_size
    assert checksum == zlib.crc32(content[:24])


def test_a_schema_is_hashed_as_the_page_says() -> None:
    for line in (FIXTURE / "schemas.ndjson").read_bytes().splitlines():
        payload = line[line.index(b'"payload":') + 10 : line.rindex(b',"hash":')]
        assert json.loads(line)["hash"] == sha256(payload).hexdigest()


def test_the_columns_hold_what_the_page_says() -> None:
    segments = (INDEX / "subject-segments").read_text().splitlines()
    parents = cells("parent", "I", len(segments))
    subjects = ["/"]
    for segment, parent in zip(segments[1:], parents[1:], strict=True):
        subjects.append(f"{subjects[parent].rstrip('/')}/{segment}")
    assert (segments[0], parents[0]) == ("", 0)
    # An older index has whole names.
    assert (OLDER_INDEX / "subjects").read_text().splitlines() == subjects

    events = payloads()
    types = (INDEX / "event-types").read_text().splitlines()
    count, offset, latest = len(events), 0, dict.fromkeys(subjects, 0)
    columns = zip(
        cells("offset", "Q", count),
        cells("subject", "I", count),
        cells("type", "I", count),
        cells("previous", "Q", count),
        strict=True,
    )
    rows = zip(lines_of_the_log(), events, columns, strict=True)
    for position, (line, event, found) in enumerate(rows):
        subject, type_ = event["subject"], event["type"]
        expected = (offset, subjects.index(subject), types.index(type_), latest[subject])
        assert found == expected
        offset += len(line)
        latest[subject] = position + 1


@pytest.mark.parametrize(
    "index, member, file",
    [(INDEX, "subjectSegments", "subject-segments"), (OLDER_INDEX, "subjects", "subjects")],
)
def test_the_snapshot_sums_up_what_the_page_says(index: Path, member: str, file: str) -> None:
    body, checksum = (index / "checkpoint.json").read_bytes().split()

    snapshot = json.loads(body)

    assert int(checksum) == zlib.crc32(body)
    sizes = {"offset": 32 * 8, "subject": 32 * 4, "type": 32 * 4, "previous": 32 * 8}
    sizes["parent"] = 4 * snapshot[member]["count"]
    assert snapshot["columns"] == {
        name: zlib.crc32((index / name).read_bytes()[:size]) for name, size in sizes.items()
    }
    for names, name in ((member, file), ("eventTypes", "event-types")):
        content = (index / name).read_bytes()
        assert snapshot[names] == {
            "count": content.count(b"\n"),
            "size": len(content),
            "checksum": zlib.crc32(content),
        }

"""What nobody can be faster than in this stack: the references that need no other server."""

import os
import re
import time
from hashlib import sha256
from pathlib import Path
from statistics import median

import msgspec

_SIZE = 512
_ALLOCATED = 16 * 1024 * 1024


def sync_seconds(directory: Path, *, samples: int) -> float:
    """Return the median of writing 512 bytes into an allocated file and syncing them."""
    path = directory / "sync-floor"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, _ALLOCATED)
        os.fsync(file)
        times = []
        for sample in range(samples):
            data = b"%0512d" % sample
            begin = time.perf_counter()
            os.pwrite(file, data, sample * _SIZE % _ALLOCATED)
            os.fdatasync(file)
            times.append(time.perf_counter() - begin)
        return median(times)
    finally:
        os.close(file)
        path.unlink()


class _Candidate(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    source: str
    subject: str
    type: str
    data: msgspec.Raw


class _Write(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[_Candidate]


_decode = msgspec.json.Decoder(_Write).decode
_is_subject = re.compile(r"/(?:[0-9A-Za-z_-]+(?:/[0-9A-Za-z_-]+)*)?").fullmatch


def build_rate(bodies: list[bytes], *, seconds: float) -> float:
    """Return how many events one core decodes, validates, hashes and builds in a second.

    Written anew for this purpose, as short as it can be, so that it does not get slower with
    the server: source and type are looked up, the subject is matched, data is minified.
    """
    known = {""}
    hash_, position, count = "0" * 64, 0, 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for body in bodies:
            lines = []
            events = _decode(body).events
            for event in events:
                source, subject, type_ = event.source, event.subject, event.type
                known.update((source, type_))
                assert _is_subject(subject) is not None
                data = msgspec.json.format(event.data, indent=-1).decode()
                fields = f"{position}\n{hash_}\n{source}\n{subject}\n{type_}\n{data}"
                digest = "esdb:hash:v2:" + sha256(fields.encode()).hexdigest()
                lines.append(
                    f'{{"type":"event","payload":{{"specversion":"1.0","id":"{position}",'
                    f'"time":"2026-01-01T00:00:00.123456789Z","source":"{source}",'
                    f'"subject":"{subject}","type":"{type_}","datacontenttype":"application/json",'
                    f'"data":{data},"predecessorhash":"{hash_}","hash":"{digest}",'
                    f'"signature":null}}}}\n'.encode()
                )
                hash_ = digest
                position += 1
            count += len(events)
            b"".join(lines)
    return count / (time.perf_counter() - begin)

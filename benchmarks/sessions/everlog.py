"""Everlog over HTTP, with a client that does nothing but HTTP.

Events of an answer are lines of their own; they are not parsed, as the other clients do not parse
what was stored as data either.
"""

import re
import socket
from collections.abc import Iterator, Sequence

from benchmarks.events import SOURCE, TYPE
from benchmarks.sessions.session import NewEvent

_ids = re.compile(rb'"id":"([0-9]+)"')
_BUFFER_SIZE = 256 * 1024


class EverlogSession:
    """A keep-alive connection."""

    def __init__(self, address: str) -> None:
        """Connect to `port token`."""
        port, token = address.split()
        self._socket = socket.create_connection(("127.0.0.1", int(port)), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb", buffering=_BUFFER_SIZE)
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        self._latest_ids: dict[str, str] = {}

    def write(self, events: Sequence[NewEvent]) -> None:
        """Store all of them or none."""
        texts = ",".join(_text(event) for event in events)
        self._write(f'{{"events":[{texts}]}}')

    def write_pristine(self, event: NewEvent) -> None:
        """Store an event if its subject is pristine."""
        payload = f'{{"subject":"{event.subject}"}}'
        self._write(_with_precondition(event, "isSubjectPristine", payload))

    def write_next(self, event: NewEvent) -> None:
        """Store an event if its subject's latest has the id that this session was told."""
        latest = self._latest_ids.get(event.subject)
        if latest is None:
            body = f'{{"events":[{_text(event)}]}}'
        else:
            payload = f'{{"subject":"{event.subject}","eventId":"{latest}"}}'
            body = _with_precondition(event, "isSubjectOnEventId", payload)
        found = _ids.search(self._write(body))
        assert found is not None
        self._latest_ids[event.subject] = found[1].decode()

    def read_subject(self, subject: str) -> int:
        """Read all events of one subject."""
        return self._read(subject, is_recursive=False)

    def read_everything(self) -> int:
        """Read the log."""
        return self._read("/", is_recursive=True)

    def read_recursive(self, subject: str) -> int:
        """Read all events of a subject and those below."""
        return self._read(subject, is_recursive=True)

    def prepare_observing(self) -> None:
        """Do nothing: everything can be observed."""

    def observe(self) -> Iterator[None]:
        """Observe everything, from the first event on."""
        self._send("/api/v1/observe-events", '{"subject":"/","options":{"recursive":true}}')
        self._read_head()
        yield
        for chunk in self._chunks():
            for line in chunk.splitlines():
                if line.startswith(b'{"type":"event"'):
                    yield

    def close(self) -> None:
        """Disconnect."""
        self._answers.close()
        self._socket.close()

    def _write(self, body: str) -> bytes:
        self._send("/api/v1/write-events", body)
        answer: bytes = self._answers.read(self._read_head())
        return answer

    def _read(self, subject: str, *, is_recursive: bool) -> int:
        flag = "true" if is_recursive else "false"
        body = f'{{"subject":"{subject}","options":{{"recursive":{flag}}}}}'
        self._send("/api/v1/read-events", body)
        size = self._read_head()
        if size:
            return len(self._answers.read(size).splitlines())
        # A chunk need not end where a line does.
        count, rest = 0, b""
        for chunk in self._chunks():
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            count += len(lines)
        return count

    def _send(self, path: str, body: str) -> None:
        content = body.encode()
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(content)}\r\n\r\n"
        self._socket.sendall(head.encode() + content)

    def _read_head(self) -> int:
        """Read a head, and return the size of what follows, 0 if it comes in chunks."""
        receive_line = self._answers.readline
        status = receive_line()
        size = 0
        while (line := receive_line()) not in {b"\r\n", b""}:
            if line[:15].lower() == b"content-length:":
                size = int(line[15:])
        if status[9:12] != b"200":
            raise RuntimeError(f"{status!r} {self._answers.read(size)!r}")
        return size

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._answers.readline(), 16):
            yield self._answers.read(size)
            self._answers.readline()
        self._answers.readline()


def _text(event: NewEvent) -> str:
    subject, data = event
    return f'{{"source":"{SOURCE}","subject":"{subject}","type":"{TYPE}","data":{data}}}'


def _with_precondition(event: NewEvent, kind: str, payload: str) -> str:
    precondition = f'{{"type":"{kind}","payload":{payload}}}'
    return f'{{"events":[{_text(event)}],"preconditions":[{precondition}]}}'

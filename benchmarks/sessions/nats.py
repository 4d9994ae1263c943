"""NATS JetStream, with a client that does nothing but the protocol.

It is a third of the work of the official one, whose event loop would be measured otherwise. The
subject becomes a subject of NATS, with dots for slashes; writes of several events are JetStream's
atomic batches.
"""

import json
import socket
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple
from uuid import uuid4

from benchmarks.events import data_of, subject_of
from benchmarks.sessions.session import NewEvent

STREAM = "EVENTS"

_BUFFER_SIZE = 256 * 1024
_READ_SIZE = 1_000
_FILL_SIZE = 1_000


class _Message(NamedTuple):
    subject: bytes
    head: bytes
    content: bytes


class NatsSession:
    """A connection, with an inbox for answers."""

    def __init__(self, address: str) -> None:
        """Connect to a port."""
        self._socket = socket.create_connection(("127.0.0.1", int(address)), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = self._socket.makefile("rb", buffering=_BUFFER_SIZE)
        self._inbox = f"_INBOX.{uuid4().hex}"
        self._received.readline()
        options = '{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}'
        self._socket.sendall(f"CONNECT {options}\r\nSUB {self._inbox} 1\r\nPING\r\n".encode())
        while self._received.readline() != b"PONG\r\n":
            pass
        self._latest: dict[str, int] = {}
        self._batch_ids = count()

    def write(self, events: Sequence[NewEvent]) -> None:
        """Publish one message, or an atomic batch, and wait for its acknowledgement."""
        if len(events) == 1:
            self._acknowledged(self._publication(events[0], b""))
            return
        batch = f"Nats-Batch-Id: {self._inbox[7:]}-{next(self._batch_ids)}\r\n"
        parts = []
        for number, event in enumerate(events, 1):
            is_last = number == len(events)
            commit = "Nats-Batch-Commit: 1\r\n" if is_last else ""
            head = f"NATS/1.0\r\n{batch}Nats-Batch-Sequence: {number}\r\n{commit}\r\n"
            parts.append(self._publication(event, head.encode(), is_answered=is_last))
        self._acknowledged(b"".join(parts))

    def write_pristine(self, event: NewEvent) -> None:
        """Publish if the subject has no message."""
        self._write_expecting(event, 0)

    def write_next(self, event: NewEvent) -> None:
        """Publish if the subject's last message is the one that this session published."""
        expected = self._latest.get(event.subject, 0)
        self._latest[event.subject] = self._write_expecting(event, expected)

    def read_subject(self, subject: str) -> int:
        """Get the messages of a subject directly."""
        return self._read(_name_of(subject))

    def read_everything(self) -> int:
        """Get all messages directly."""
        return self._read(">")

    def read_recursive(self, subject: str) -> int:
        """Get the messages of all subjects below one directly."""
        return self._read(f"{_name_of(subject)}.>")

    def prepare_observing(self) -> None:
        """Do nothing: everything can be consumed."""

    def observe(self) -> Iterator[None]:
        """Create a consumer that pushes what is stored from now on."""
        deliver = f"{self._inbox}.pushed"
        self._socket.sendall(f"SUB {deliver} 2\r\n".encode())
        settings = {
            "deliver_policy": "new",
            "ack_policy": "none",
            "deliver_subject": deliver,
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 60_000_000_000,
        }
        self._ask(f"CONSUMER.CREATE.{STREAM}", {"stream_name": STREAM, "config": settings})
        yield
        while True:
            self._message()
            yield

    def fill(self, event_count: int) -> None:
        """Publish the events of a filled log, a thousand at a time."""
        for first in range(0, event_count, _FILL_SIZE):
            positions = range(first, min(first + _FILL_SIZE, event_count))
            parts = []
            for position in positions:
                subject = subject_of(position, event_count=event_count)
                parts.append(self._publication(NewEvent(subject, data_of(position)), b""))
            self._socket.sendall(b"".join(parts))
            for _ in positions:
                _sequence_of(self._message())

    def create(self) -> None:
        """Create the stream that all messages go to."""
        settings = {
            "name": STREAM,
            "subjects": ["libraries.>", "archive.>", "written.>"],
            "storage": "file",
            "retention": "limits",
            "allow_direct": True,
            "allow_atomic": True,
            "num_replicas": 1,
        }
        self._ask(f"STREAM.CREATE.{STREAM}", settings)

    def close(self) -> None:
        """Disconnect."""
        self._received.close()
        self._socket.close()

    def _write_expecting(self, event: NewEvent, expected: int) -> int:
        head = f"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {expected}\r\n\r\n"
        return self._acknowledged(self._publication(event, head.encode()))

    def _publication(self, event: NewEvent, head: bytes, *, is_answered: bool = True) -> bytes:
        content = event.data.encode()
        to = f"{_name_of(event.subject)} {self._inbox}" if is_answered else _name_of(event.subject)
        if not head:
            return f"PUB {to} {len(content)}\r\n".encode() + content + b"\r\n"
        sizes = f"{len(head)} {len(head) + len(content)}"
        return f"HPUB {to} {sizes}\r\n".encode() + head + content + b"\r\n"

    def _ask(self, what: str, settings: dict[str, object]) -> None:
        content = json.dumps(settings).encode()
        request = f"PUB $JS.API.{what} {self._inbox} {len(content)}\r\n".encode()
        answer = json.loads(self._request(request + content + b"\r\n").content)
        if "error" in answer:
            raise RuntimeError(answer["error"])

    def _acknowledged(self, request: bytes) -> int:
        return _sequence_of(self._request(request))

    def _request(self, request: bytes) -> _Message:
        self._socket.sendall(request)
        return self._message()

    def _read(self, name: str) -> int:
        """Get batch after batch; each ends with a message that says so."""
        found, position = 0, 1
        while True:
            wish = f'{{"seq":{position},"next_by_subj":"{name}","batch":{_READ_SIZE}}}'
            subject = f"$JS.API.DIRECT.GET.{STREAM}"
            request = f"PUB {subject} {self._inbox} {len(wish)}\r\n{wish}\r\n"
            message = self._request(request.encode())
            received, last = 0, b""
            while not message.head.startswith((b"NATS/1.0 204", b"NATS/1.0 404")):
                received += 1
                last = message.head
                message = self._message()
            found += received
            if received < _READ_SIZE:
                return found
            position = int(_header(last, b"Nats-Sequence: ")) + 1

    def _message(self) -> _Message:
        while True:
            words = self._received.readline().split()
            if words[0] == b"MSG":
                content = self._received.read(int(words[-1]) + 2)[:-2]
                return _Message(words[1], b"", content)
            if words[0] == b"HMSG":
                head_size = int(words[-2])
                content = self._received.read(int(words[-1]) + 2)[:-2]
                return _Message(words[1], content[:head_size], content[head_size:])
            if words[0] == b"PING":
                self._socket.sendall(b"PONG\r\n")
            elif words[0] not in {b"PONG", b"+OK"}:
                raise RuntimeError(b" ".join(words).decode())


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(name)[2].partition(b"\r\n")[0]


def _sequence_of(message: _Message) -> int:
    answer = json.loads(message.content)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return int(answer["seq"])


def _name_of(subject: str) -> str:
    return subject[1:].replace("/", ".")

"""A server that answers one request with the bytes that a test gives it, and closes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DEADLINE_SECONDS = 20.0


@contextmanager
def answering(*parts: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answer one request with these bytes, and close; yield the address and what was asked."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_SECONDS)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE_SECONDS)
                request = b""
                while not request.endswith(b"}"):
                    request += connection.recv(65_536)
                requests.append(request)
                for part in parts:
                    connection.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            thread.join(DEADLINE_SECONDS)


def chunks(*blocks: bytes) -> list[bytes]:
    return [CHUNKED, *(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)]

"""The OpenAPI documents, which `make openapi` writes from the routes and the structs of bodies."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from everlog.api.answers import JSON
from everlog.api.routes import OPENAPI_3_2_PATH, OPENAPI_PATH
from everlog.http import Head, Response

# By the path under which the server shows each.
DOCUMENTS: Final[Mapping[str, Path]] = {
    OPENAPI_PATH: Path(__file__).with_name("openapi.json"),
    OPENAPI_3_2_PATH: Path(__file__).with_name("openapi-3.2.json"),
}


def load_documents() -> dict[str, Callable[[Head], Response]]:
    """Return the documents that the server shows beside its routes."""
    return {path: _showing(read_document(path)) for path in DOCUMENTS}


def read_document(path: str) -> bytes:
    """Return the document that is shown under a path."""
    # What is laid out for those who review it is sent without the space.
    return msgspec.json.format(DOCUMENTS[path].read_bytes(), indent=-1)


def _showing(body: bytes) -> Callable[[Head], Response]:
    response = Response(200, body, JSON)
    return lambda _: response

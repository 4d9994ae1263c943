"""The OpenAPI document, which `make openapi` writes from the routes and the structs of bodies."""

from pathlib import Path
from typing import Final

import msgspec

from everlog.api.answers import JSON
from everlog.api.routes import OPENAPI_PATH
from everlog.http import Response

DOCUMENT: Final = Path(__file__).with_name("openapi.json")


def load_documents() -> dict[str, Response]:
    """Return the documents that the server shows beside its routes."""
    # What is laid out for those who review it is sent without the space.
    compact = msgspec.json.format(DOCUMENT.read_bytes(), indent=-1)
    return {OPENAPI_PATH: Response(200, compact, JSON)}

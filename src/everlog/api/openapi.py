"""The OpenAPI documents, which `make openapi` writes from the routes and the structs of bodies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from everlog.api.answers import JSON
from everlog.api.routes import OPENAPI_3_2_PATH, OPENAPI_PATH
from everlog.http import Response

# By the path under which the server shows each.
DOCUMENTS: Final[Mapping[str, Path]] = {
    OPENAPI_PATH: Path(__file__).with_name("openapi.json"),
    OPENAPI_3_2_PATH: Path(__file__).with_name("openapi-3.2.json"),
}


def load_documents() -> dict[str, Response]:
    """Return the documents that the server shows beside its routes."""
    # What is laid out for those who review it is sent without the space.
    return {
        path: Response(200, msgspec.json.format(file.read_bytes(), indent=-1), JSON)
        for path, file in DOCUMENTS.items()
    }

"""The OpenAPI document of the server."""

import msgspec

from everlog.api.application import Documents
from everlog.api.media import JSON
from everlog.api.routes import OPENAPI_PATH, Route
from everlog.http import Response


def render_documents(routes: tuple[Route, ...]) -> Documents:
    """Return the documents that the server shows beside its routes."""
    document = {"openapi": "3.1.0", "paths": {route.path: {} for route in routes}}
    return {OPENAPI_PATH: Response(200, msgspec.json.encode(document), JSON)}

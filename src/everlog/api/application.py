"""From a request's head to its endpoint: who may ask, what there is, and what else is said.

The order is: open endpoints, the token, the end of the server, methods, paths. Whoever lacks the
token learns nothing about what is behind it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from everlog.api.auth import TokenCheck
from everlog.api.bodies import MalformedBodyError
from everlog.api.media import text_response
from everlog.api.routes import Route
from everlog.api.services import Services
from everlog.api.v1.failures import SHUTTING_DOWN_TEXT
from everlog.domain.errors import DiskFullError, RefusedError, StoreFailedError
from everlog.http import Endpoint, Exchange, Head, Request, Response

HEADERS_KEPT: Final = frozenset({b"authorization"})

_API_PREFIX: Final = "/api/"

# What is always there besides the routes: complete answers by path, for GET.
Documents = Mapping[str, Response]


class ApiApplication:
    """Everything that the server serves."""

    def __init__(
        self,
        routes: tuple[Route, ...],
        documents: Documents,
        *,
        services: Services,
        token: TokenCheck,
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Tie the routes to the services."""
        self._token: Final = token
        self._documents: Final = documents
        self._endpoints: Final = {
            (route.method, route.path): Endpoint(_bind(route, services), route.body_size_max)
            for route in routes
        }
        self._open: Final = frozenset(
            (route.method, route.path) for route in routes if route.is_open
        )
        self._methods: Final = _methods_by_path(routes, documents)
        self._on_error: Final = on_error
        self._is_stopping = False

    def stop(self) -> None:
        """Refuse whatever is asked from now on."""
        self._is_stopping = True

    def route(self, head: Head) -> Endpoint | Response:
        """Decide by the head alone, before a body is read."""
        method = "GET" if head.method == "HEAD" else head.method
        key = (method, head.path)
        is_open = key in self._open or (method == "GET" and head.path in self._documents)
        if not is_open and not self._token.is_authorized(head.headers.get(b"authorization")):
            return self._refuse_stranger(head.path)
        if self._is_stopping:
            return text_response(503, SHUTTING_DOWN_TEXT)
        endpoint = self._endpoints.get(key)
        if endpoint is not None:
            return endpoint
        document = self._documents.get(head.path) if method == "GET" else None
        return document or self._refuse(method, head.path)

    def render_error(self, status: int, reason: str) -> Response:
        """Build the answer to what the HTTP layer itself refuses."""
        return text_response(status, reason)

    def on_error(self, error: BaseException) -> None:
        """Report a bug."""
        self._on_error(error)

    def _refuse_stranger(self, path: str) -> Response:
        if path.startswith(_API_PREFIX) or path in self._methods:
            challenge = ((b"WWW-Authenticate", b"Bearer"),)
            return text_response(401, "unauthorized", challenge)
        return text_response(404, "not found")

    def _refuse(self, method: str, path: str) -> Response:
        methods = self._methods.get(path)
        if methods is None:
            return text_response(404, "not found")
        allow = ((b"Allow", ", ".join(methods).encode()),)
        if method == "OPTIONS":
            return Response(204, b"", b"", allow)
        return text_response(405, "method not allowed", allow)


def _bind(route: Route, services: Services) -> Callable[[Request, Exchange], None]:
    handle, failure_response = route.handle, route.version.failure_response

    def answer(request: Request, exchange: Exchange) -> None:
        try:
            handle(services, request, exchange)
        except (RefusedError, MalformedBodyError, DiskFullError, StoreFailedError) as error:
            exchange.respond(failure_response(error))

    return answer


def _methods_by_path(routes: tuple[Route, ...], documents: Documents) -> dict[str, list[str]]:
    methods: dict[str, list[str]] = {path: ["GET", "HEAD", "OPTIONS"] for path in documents}
    for route in routes:
        implied = ["HEAD"] if route.method == "GET" else []
        methods[route.path] = [route.method, *implied, "OPTIONS"]
    return methods

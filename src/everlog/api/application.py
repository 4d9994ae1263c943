"""From a request's head to its endpoint: who may ask, what there is, and what else is said.

The order is: open endpoints, the token, the end of the server, whether a backup is being restored,
the rate limit, methods, paths, and whether the body is encoded.
Whoever lacks the token learns nothing about what is behind it, and uses up nothing of what those
who have it may ask for.

A head that led to an endpoint is *admitted*: a connection that gets the same head again does not
ask. That is right because nothing decides about such a head but the head itself, which has its
token in it, the tokens that count, whether the server is stopping, and whether a backup is being
restored. Each of these begins a new epoch when it changes, and every head is asked about again; a
rate limit depends on each request, so that with one nothing is admitted.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from typing import Final

import msgspec

from everlog.api.allowances import READ_COST, FailedAttempts, Headers, RateLimit, cost_of
from everlog.api.answers import text_response
from everlog.api.bodies import MalformedRequestError
from everlog.api.look_v1 import SHUTTING_DOWN_TEXT
from everlog.api.routes import Answer, Route, name_of
from everlog.api.services import Services, answer_bug
from everlog.credentials.token import TokenCheck
from everlog.domain.errors import (
    BusyError,
    DiskFullError,
    RefusedError,
    StoreFailedError,
)
from everlog.http import Admission, Endpoint, Exchange, Head, Request, Response
from everlog.service.served_store import restore_in_progress

HEADERS_KEPT: Final = frozenset({b"authorization", b"content-encoding"})
# What documents may depend on besides their path, where there are such.
HEADERS_OF_DOCUMENTS: Final = frozenset({b"accept-encoding", b"if-none-match"})

# What was asked for with a token must not stay in a cache, and what is told back to a client must
# never be taken for a page. `no-store` says all; the original's words are what a client looks for.
HEADERS_ALWAYS: Final = (
    (b"Cache-Control", b"no-store, no-cache, must-revalidate, proxy-revalidate"),
    (b"X-Content-Type-Options", b"nosniff"),
)

_API_PREFIX: Final = "/api/"

# Who opens the address of a server in a browser sees where to go.
_ROOT: Final = "/"
_ROOT_TEXT: Final = (
    "not found: this is Everlog, an event store, and here is no page; its API begins with /api/v1 "
    "and /api/v2, GET /.well-known/openapi describes it, and GET /api/v1/ping says that it is there"
)

# Bodies are taken as they are. RFC 9110 lets `identity` be named, though it has no need to be, and
# asks an answer with 415 to say what would be taken (sections 8.4 and 15.5.16).
_NO_CODING: Final = frozenset({b"", b"identity"})
_CODING_TEXT: Final = "the body has the Content-Encoding '{coding}': send it as it is"
_ACCEPTED_CODINGS: Final = ((b"Accept-Encoding", b"identity"),)

# What only OPTIONS may ask about, and everybody: that a server is there, and its methods
# (RFC 9110 section 9.3.7).
_WHOLE_SERVER: Final = "*"

FAILURES_TEXT: Final = "too many requests without the right token from this address"

_FAILURES: Final = (
    RefusedError,
    MalformedRequestError,
    DiskFullError,
    StoreFailedError,
    BusyError,
)

# What changes the store, or what may be done with it.
_CHANGES: Final = frozenset(
    {Answer.EVENTS, Answer.REGISTRATION, Answer.READ_ONLY_MODE, Answer.RESTORATION}
)

# What a node answers that it has to have all for that was acknowledged before: what it reads. What
# changes the store its journal decides about, and observers wait for what is to come.
_READS: Final = frozenset(
    {
        Answer.EVENT_STREAM,
        Answer.ROW_STREAM,
        Answer.SUBJECT_STREAM,
        Answer.CHILD_SUBJECTS,
        Answer.EVENT_TYPE_STREAM,
        Answer.EVENT_TYPE,
        Answer.SCHEMA_CHECK,
        Answer.BACKUP,
        Answer.VERIFICATION,
        Answer.AUDIT,
        Answer.CHECKPOINT,
        Answer.INCLUSION_PROOF,
        Answer.CONSISTENCY_PROOF,
        Answer.TILE,
    }
)

# What is always there besides the routes, for everybody: what answers GET, by path.
Documents = Mapping[str, Callable[[Head], Response]]


class ApiApplication:
    """Everything that the server serves."""

    def __init__(
        self,
        routes: tuple[Route, ...],
        documents: Documents,
        *,
        services: Services,
        token: TokenCheck,
        failed_attempts: FailedAttempts,
        rate_limit: RateLimit | None,
        monotonic_clock: Callable[[], float],
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Tie the routes to the services; the clock returns seconds, and never goes back."""
        self._token: Final = token
        self._failed_attempts: Final = failed_attempts
        self._rate_limit: Final = rate_limit
        self._costs: Final = {(route.method, route.path): cost_of(route) for route in routes}
        self._monotonic_clock: Final = monotonic_clock
        self._documents: Final = documents
        self._endpoints: Final[Mapping[tuple[str, str], Endpoint]] = {
            name_of(route): Endpoint(
                _handling(route, services, on_error),
                route.body_size_max,
                services.tally.answers[name_of(route)],
                _refusing(route, services),
                route.is_open,
            )
            for route in routes
        }
        # Paths that end in what their endpoint reads, by what they begin with.
        self._open_ended: Final = {
            route.path.partition("{")[0]: route.path for route in routes if "{" in route.path
        }
        self._open: Final = frozenset(
            (route.method, route.path) for route in routes if route.is_open
        )
        # What is refused while a backup is being restored, and how.
        self._locked: Final = {
            name_of(route): route.version.failure(_locked(route))
            for route in routes
            if not route.is_unlocked
        }
        self._services: Final = services
        self._methods: Final = _methods_by_path(routes, documents)
        self._on_error: Final = on_error
        self._is_stopping = False

    def stop(self) -> None:
        """Refuse whatever is asked from now on."""
        self._is_stopping = True
        # Heads that were admitted before are asked about again.
        self._token.begin_epoch()

    def route(self, head: Head) -> Endpoint | Response:
        """Decide by the head alone, before a body is read."""
        answer = self._route(head)
        # Where there is a rate limit each request is charged, and has headers of its own.
        if self._rate_limit is None and isinstance(answer, Endpoint):
            # A head has its token in it, so that this counts for as long as the tokens do.
            head.admission = Admission(answer, self._token)
        return answer

    def _route(self, head: Head) -> Endpoint | Response:
        method = "GET" if head.method == "HEAD" else head.method
        key = (method, head.path)
        is_open = (
            key in self._open
            or (method == "GET" and head.path in self._documents)
            or head.path == _WHOLE_SERVER
        )
        if not is_open and not self._token.is_authorized(head.headers.get(b"authorization")):
            return self._refuse_stranger(head)
        if self._is_stopping:
            return text_response(503, SHUTTING_DOWN_TEXT)
        if self._services.is_locked and key in self._locked:
            return self._locked[key]
        answer = self._endpoints.get(key) or self._find_other(method, head)
        coding = head.headers.get(b"content-encoding")
        if coding is not None and isinstance(answer, Endpoint):
            answer = _refuse_coding(coding) or answer
        if self._rate_limit is None or is_open:
            return answer
        cost = self._costs.get(key, READ_COST)
        charge = self._rate_limit.charge(head.peer, cost, now=self._monotonic_clock())
        return charge.refusal or _with_headers(answer, charge.headers)

    def render_error(self, status: int, reason: str) -> Response:
        """Build the answer to what the HTTP layer itself refuses."""
        return text_response(status, reason)

    def on_error(self, error: BaseException) -> None:
        """Report a bug."""
        self._on_error(error)

    def _refuse_stranger(self, head: Head) -> Response:
        if not head.path.startswith(_API_PREFIX) and head.path not in self._methods:
            return _not_found(head.path)
        seconds = self._failed_attempts.count(head.peer, now=self._monotonic_clock())
        if seconds > 0:
            return text_response(429, FAILURES_TEXT, ((b"Retry-After", b"%d" % ceil(seconds)),))
        challenge = ((b"WWW-Authenticate", b"Bearer"),)
        return text_response(401, "unauthorized", challenge)

    def _find_other(self, method: str, head: Head) -> Endpoint | Response:
        path = head.path
        document = self._documents.get(path) if method == "GET" else None
        if document is not None:
            return document(head)
        for start, whole in self._open_ended.items():
            if path.startswith(start):
                return self._endpoints.get((method, whole)) or self._refuse(method, whole)
        return self._refuse(method, path)

    def _refuse(self, method: str, path: str) -> Response:
        methods = self._methods.get(path)
        if methods is None:
            return _not_found(path)
        allow = ((b"Allow", ", ".join(methods).encode()),)
        if method == "OPTIONS":
            return Response(204, b"", b"", allow)
        return text_response(405, "method not allowed", allow)


def _not_found(path: str) -> Response:
    return text_response(404, _ROOT_TEXT if path == _ROOT else "not found")


def _handling(
    route: Route, services: Services, on_error: Callable[[BaseException], None]
) -> Callable[[Request, Exchange], None]:
    """Return what handles a route's requests; on a node, once it may show what it has."""
    handle, mirror = partial(route.handle, services), services.served.latest.mirror
    if mirror is None or route.answer not in {*_READS, Answer.OBSERVATION}:
        return handle
    refuse = _refusing(route, services)

    def handle_when_ready(request: Request, exchange: Exchange) -> None:
        mirror.check_ready()
        handle(request, exchange)

    def handle_when_current(request: Request, exchange: Exchange) -> None:
        def go_on(error: Exception | None) -> None:
            if exchange.is_disconnected:
                return
            try:
                if error is not None:
                    raise error  # noqa: TRY301 - it is handled like what the endpoint raises.
                handle(request, exchange)
            except Exception as failure:  # noqa: BLE001 - as the HTTP layer does for the others
                if not refuse(exchange, failure):
                    on_error(failure)
                    answer_bug(exchange)

        mirror.when_current(go_on)

    is_current = route.answer in _READS and mirror.reads_are_current
    return handle_when_current if is_current else handle_when_ready


def _refusing(route: Route, services: Services) -> Callable[[Exchange, Exception], bool]:
    refuse, locked = route.version.refuse, _locked(route)

    def answer(exchange: Exchange, error: Exception) -> bool:
        if not isinstance(error, _FAILURES):
            return False
        is_locked = isinstance(error, RefusedError) and error.code is locked.code
        refuse(services, exchange, locked if is_locked else error)
        return True

    return answer


def _locked(route: Route) -> RefusedError:
    """Return the refusal of a route while a backup is being restored."""
    return restore_in_progress("writing" if route.answer in _CHANGES else "reading")


def _refuse_coding(value: bytes) -> Response | None:
    """Return the answer to a body that is encoded, None if it is as it is."""
    codings = (coding.strip(b" \t").lower() for coding in value.split(b","))
    if _NO_CODING.issuperset(codings):
        return None
    text = _CODING_TEXT.format(coding=value.decode("latin-1"))
    return text_response(415, text, _ACCEPTED_CODINGS)


def _with_headers(answer: Endpoint | Response, headers: Headers) -> Endpoint | Response:
    if isinstance(answer, Response):
        return msgspec.structs.replace(answer, headers=answer.headers + headers)
    handle = answer.handle

    def answer_with_headers(request: Request, exchange: Exchange) -> None:
        exchange.add_headers(headers)
        handle(request, exchange)

    return msgspec.structs.replace(answer, handle=answer_with_headers)


def _methods_by_path(routes: tuple[Route, ...], documents: Documents) -> dict[str, list[str]]:
    methods: dict[str, list[str]] = {path: ["GET", "HEAD", "OPTIONS"] for path in documents}
    for route in routes:
        implied = ["HEAD"] if route.method == "GET" else []
        methods[route.path] = [route.method, *implied, "OPTIONS"]
    methods[_WHOLE_SERVER] = sorted({method for each in methods.values() for method in each})
    return methods

"""Whom the application lets in without looking again, and for how long."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from everlog.api.allowances import FailedAttempts, RateLimit
from everlog.api.application import ApiApplication
from everlog.api.routes import ROUTES, name_of
from everlog.api.services import Services
from everlog.credentials.token import TokenCheck, parse_token
from everlog.domain.errors import BusyError
from everlog.http import Endpoint, Exchange, Head, Response
from everlog.monitoring.tally import Tally

OLD, NEW = parse_token(b"old"), parse_token(b"new")

# A store that is not shared with other nodes.
SERVED = SimpleNamespace(latest=SimpleNamespace(mirror=None))


def make_application(
    token: TokenCheck, *, rate_limit: RateLimit | None = None, **services: Any
) -> ApiApplication:
    tally = Tally(name_of(route) for route in ROUTES)
    return ApiApplication(
        ROUTES,
        {},
        services=cast(
            "Services",
            SimpleNamespace(**{"tally": tally, "is_locked": False, "served": SERVED, **services}),
        ),
        token=token,
        failed_attempts=FailedAttempts(lambda _: None),
        rate_limit=rate_limit,
        monotonic_clock=lambda: 0.0,
        on_error=lambda _: None,
    )


def make_head(token: bytes = b"old", path: str = "/api/v1/write-events") -> Head:
    return Head("POST", path, "", {b"authorization": b"Bearer %b" % token}, "1.2.3.4")


def is_admitted(head: Head) -> bool:
    """Judge as a connection does."""
    admission = head.admission
    return admission is not None and admission.epoch is admission.authority.epoch


def test_who_has_the_token_is_admitted_until_tokens_are_exchanged() -> None:
    token = TokenCheck([OLD])
    application = make_application(token)
    head = make_head()
    endpoint = application.route(head)
    assert isinstance(endpoint, Endpoint)
    assert is_admitted(head)
    assert head.admission is not None
    assert head.admission.endpoint is endpoint

    token.replace([NEW])

    assert not is_admitted(head)
    answer = application.route(head)
    assert isinstance(answer, Response)
    assert answer.status == 401
    assert not is_admitted(head)


def test_nobody_is_admitted_once_the_server_stops() -> None:
    application = make_application(TokenCheck([OLD]))
    head = make_head()
    application.route(head)

    application.stop()

    assert not is_admitted(head)
    answer = application.route(head)
    assert isinstance(answer, Response)
    assert answer.status == 503
    assert not is_admitted(head)


@pytest.mark.parametrize("head", [make_head(b"wrong"), make_head(path="/api/v1/nothing")])
def test_who_is_refused_is_not_admitted(head: Head) -> None:
    answer = make_application(TokenCheck([OLD])).route(head)

    assert isinstance(answer, Response)
    assert head.admission is None


def test_who_is_counted_is_asked_about_each_time() -> None:
    head = make_head()

    answer = make_application(TokenCheck([OLD]), rate_limit=RateLimit(5)).route(head)

    assert isinstance(answer, Endpoint)
    assert head.admission is None


def test_an_endpoint_answers_refusals_and_no_bugs() -> None:
    refused: list[Exception] = []

    def count_refusal(error: Exception) -> None:
        refused.append(error)

    application = make_application(TokenCheck([OLD]), count_refusal=count_refusal)
    endpoint = application.route(make_head())
    assert isinstance(endpoint, Endpoint)
    assert endpoint.refuse is not None
    exchange = Exchange(None, form=cast("Any", None))

    assert not endpoint.refuse(exchange, ValueError())
    assert exchange.answer is None

    assert endpoint.refuse(exchange, BusyError("too many"))
    assert exchange.answer is not None
    assert len(refused) == 1

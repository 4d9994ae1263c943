"""Endpoints about the server itself that are the same in both versions."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from everlog.api.bodies import MalformedRequestError
from everlog.api.media import HEALTH
from everlog.api.services import Services
from everlog.http import Exchange, Request, Response
from everlog.monitoring.checks import Status
from everlog.monitoring.figures import Figures
from everlog.monitoring.health import describe_health
from everlog.monitoring.metrics import render_metrics
from everlog.monitoring.openmetrics import MEDIA_TYPE as OPENMETRICS

# What most health checkers look at alone. A server that fails at something still answers.
_STATUSES: Final[Mapping[Status, int]] = {Status.PASS: 200, Status.WARN: 200, Status.FAIL: 503}


def health(services: Services, request: Request, exchange: Exchange) -> None:
    """Tell how well the server is, as a health document or as metrics."""
    render = _find_form(request.head.query)

    async def work() -> None:
        exchange.respond(render(await services.monitor.read()))

    services.tasks.start_for(exchange, work())


def _render_health(figures: Figures) -> Response:
    status, document = describe_health(figures)
    return Response(_STATUSES[status], msgspec.json.encode(document), HEALTH)


def _render_metrics(figures: Figures) -> Response:
    # A server that fails at something is still measured: the metrics say what it fails at.
    return Response(200, render_metrics(figures), OPENMETRICS)


# By the value of `format`; the first one is the default.
FORMS: Final[Mapping[str, Callable[[Figures], Response]]] = {
    "rfc": _render_health,
    "openmetrics": _render_metrics,
}


def _find_form(query: str) -> Callable[[Figures], Response]:
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "format"]
    if not values:
        return next(iter(FORMS.values()))
    form = FORMS.get(values[0]) if len(values) == 1 else None
    if form is None:
        known = " or ".join(FORMS)
        raise MalformedRequestError(f"format must be {known}, not '{', '.join(values)}'")
    return form

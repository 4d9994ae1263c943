"""Health as a document: "Health Check Response Format for HTTP APIs", draft 06.

Every check is an array of one observation, since there is one of everything here.
"""

from typing import Final

import msgspec

from everlog.monitoring.checks import Check, Finding, Status, format_moment, judge, overall
from everlog.monitoring.figures import Figures

_DESCRIPTION: Final = "Everlog, an event store"


class Observation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one check found, and when; the output says what is wrong."""

    component_type: str
    observed_value: int | float | str | None
    status: str
    time: str
    observed_unit: str = ""
    output: str = ""


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """The whole document."""

    status: str
    version: str
    release_id: str
    description: str
    checks: dict[str, list[Observation]]


def describe_health(figures: Figures) -> tuple[Status, Health]:
    """Return how well the server is, and the document that says so."""
    found = tuple(judge(figures))
    status = overall(finding for _, finding in found)
    time = format_moment(figures.now)
    health = Health(
        status=_name(status),
        version=figures.release.compatible_version,
        release_id=figures.release.version,
        description=_DESCRIPTION,
        checks={check.name: [_observation(check, finding, time)] for check, finding in found},
    )
    return status, health


def _observation(check: Check, finding: Finding, time: str) -> Observation:
    return Observation(
        component_type=check.component_type,
        observed_value=finding.value,
        status=_name(finding.status),
        time=time,
        observed_unit=check.unit,
        output=finding.output,
    )


def _name(status: Status) -> str:
    return status.name.lower()

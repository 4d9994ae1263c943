"""What the server is, what it runs on, and how it was told to run.

Nothing in it is secret: options come without their secrets.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from everlog._version import COMPATIBLE_VERSION, __version__
from everlog.monitoring.machine import Machine, read_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Which server this is."""

    version: str
    # The version of EventSourcingDB whose API it speaks.
    compatible_version: str


RELEASE: Final = Release(version=__version__, compatible_version=COMPATIBLE_VERSION)

_PACKAGE: Final = "everlog"
_LICENSE: Final = "MIT"


class Build(msgspec.Struct, frozen=True, rename="camel"):
    """What the server was made of: its interpreter and the packages that it needs."""

    python: str
    packages: dict[str, str]


class VersionSection(msgspec.Struct, frozen=True, rename="camel"):
    """Which server this is."""

    everlog: str
    compatible_with: str
    build: Build


class SystemSection(msgspec.Struct, frozen=True, rename="camel"):
    """What it runs on."""

    operating_system: str
    release: str
    architecture: str
    core_count: int
    memory_bytes: int


class LicenseSection(msgspec.Struct, frozen=True, rename="camel"):
    """What it may be used for: everything, without a bound."""

    name: str = _LICENSE
    is_open_source: bool = True
    is_valid: bool = True
    # No number of events is too many.
    event_capacity: None = None


class Diagnostics(msgspec.Struct, frozen=True, rename="camel"):
    """All of it; the options of a server are null where there is no server."""

    version: VersionSection
    system: SystemSection
    license: LicenseSection
    options: Mapping[str, object] | None
    # From where each of them is: "command line", "environment", or "default".
    option_origins: Mapping[str, str] | None


def describe_server(
    release: Release,
    options: Mapping[str, object] | None,
    option_origins: Mapping[str, str] | None = None,
) -> Diagnostics:
    """Return what this process is and runs on; the options have no secrets in them."""
    return Diagnostics(
        version=VersionSection(
            everlog=release.version,
            compatible_with=f"EventSourcingDB {release.compatible_version}",
            build=Build(platform.python_version(), _find_packages()),
        ),
        system=_describe(read_machine()),
        license=LicenseSection(),
        options=options,
        option_origins=option_origins,
    )


def _describe(machine: Machine) -> SystemSection:
    return SystemSection(**machine._asdict())


def _find_packages() -> dict[str, str]:
    """Return the versions of the packages that Everlog needs, as they are installed."""
    # Twenty modules, for a question that is seldom asked.
    from importlib.metadata import (  # noqa: PLC0415 - as said above.
        PackageNotFoundError,
        requires,
        version,
    )

    try:
        names = [_bare_name(line) for line in requires(_PACKAGE) or ()]
        return {name: version(name) for name in sorted(names)}
    except PackageNotFoundError:
        # Run from its sources, without having been installed.
        return {}


def _bare_name(requirement: str) -> str:
    """Return the name at the beginning of a requirement, such as "click>=8.1"."""
    end = next(
        (index for index, letter in enumerate(requirement) if letter in " <>=!~;[("),
        len(requirement),
    )
    return requirement[:end]

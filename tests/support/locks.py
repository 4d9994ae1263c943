"""The lock files as values."""

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.sources import REPOSITORY


def locked_versions(name: str) -> dict[str, str]:
    """Return the versions of the packages of a lock, by their names."""
    text = (REPOSITORY / "requirements" / f"{name}.lock").read_text(encoding="ascii")
    requirements = [
        Requirement(line.removesuffix("\\"))
        for line in text.splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    ]
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate()
    }

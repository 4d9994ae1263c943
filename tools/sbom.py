"""Write what a release consists of, as a software bill of materials: CycloneDX 1.6, JSON.

Guarantees: it lists exactly what `requirements/runtime.lock` pins, each with its version, the
hashes of every file that may be installed, its licence, and what asks for it; the same lock gives
the same bytes, since nothing in it tells when or where it was written. It is part of the wheel, and
a test compares it with the lock.
What is left to others: what stands beside Everlog in an image, such as Python and the system's
libraries (a scanner of images knows those), and known vulnerabilities (`make audit`).
"""

import argparse
import json
import re
import uuid
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement

from everlog._version import __version__

ROOT = Path(__file__).resolve().parent.parent
RUNTIME_LOCK = ROOT / "requirements" / "runtime.lock"
BILL = ROOT / "requirements" / "everlog.cdx.json"

# How uv names the project itself among those that ask for a package.
PROJECT = "everlog (pyproject.toml)"

LICENSE_CLASSIFIER = "License :: OSI Approved :: "


class Package(NamedTuple):
    """A package of the lock."""

    name: str
    version: str
    hashes: tuple[str, ...]
    asked_for_by: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def main() -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description="Write a software bill of materials.")
    parser.add_argument("--output", type=Path, default=BILL, help="the file to write")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(RUNTIME_LOCK.read_text(encoding="ascii")), encoding="utf-8")
    print(output)


def render(lock: str) -> str:
    """Return the bill of a lock."""
    packages = list(read_lock(lock))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": everlog()},
        "components": [component(package) for package in packages],
        "dependencies": dependencies(packages),
    }
    identity = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document))
    return json.dumps({**document, "serialNumber": identity.urn}, indent=2) + "\n"


def read_lock(lock: str) -> list[Package]:
    """Read the packages of a lock, in its order, which is that of their names."""
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]
    return [read_entry(entry) for entry in entries]


def read_entry(entry: str) -> Package:
    requirement = Requirement(entry.partition("\\\n")[0])
    comments = re.findall(r"^    #(?: via|  ) (.+)$", entry, re.MULTILINE)
    return Package(
        name=requirement.name,
        version=str(requirement.specifier).removeprefix("=="),
        hashes=tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)),
        asked_for_by=tuple(name for name in comments if not name.startswith("-c ")),
    )


def everlog() -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": "everlog",
        "name": "everlog",
        "version": __version__,
        "purl": f"pkg:pypi/everlog@{__version__}",
        "licenses": [{"expression": "MIT"}],
    }


def component(package: Package) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": content} for content in package.hashes]
    distribution = {
        "type": "distribution",
        "url": package.url,
        "comment": "The files of this release; which one is installed depends on the platform.",
        "hashes": hashes,
    }
    return {
        "type": "library",
        "bom-ref": package.url,
        "name": package.name,
        "version": package.version,
        "purl": package.url,
        "scope": "required",
        "licenses": licenses_of(package),
        "externalReferences": [distribution],
    }


def licenses_of(package: Package) -> list[dict[str, Any]]:
    """Return the licences of a package that is installed, or that was when the bill was written.

    A lock for every Python has packages that only some of them need.
    """
    try:
        return licenses(metadata(package.name))
    except PackageNotFoundError:
        written = json.loads(BILL.read_text(encoding="utf-8"))["components"]
        known: dict[str, list[dict[str, Any]]] = {
            item["purl"]: item["licenses"] for item in written
        }
        return known[package.url]


def licenses(package: PackageMetadata) -> list[dict[str, Any]]:
    """Return what a package says about its licence, the more exact statement first."""
    if "License-Expression" in package:
        return [{"expression": package["License-Expression"]}]
    classifiers = package.get_all("Classifier", [])
    named = [name for name in classifiers if name.startswith(LICENSE_CLASSIFIER)]
    names = [name.removeprefix(LICENSE_CLASSIFIER) for name in named] or [package["License"]]
    return [{"license": {"name": name}} for name in names]


def dependencies(packages: list[Package]) -> list[dict[str, Any]]:
    urls = {package.name: package.url for package in packages}
    asks_for: dict[str, list[str]] = {"everlog": [], **{url: [] for url in urls.values()}}
    for package in packages:
        for name in package.asked_for_by:
            asks_for["everlog" if name == PROJECT else urls[name]].append(package.url)
    return [{"ref": ref, "dependsOn": urls} for ref, urls in asks_for.items()]


if __name__ == "__main__":
    main()

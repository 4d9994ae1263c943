"""Write what a release consists of, as a software bill of materials: CycloneDX 1.6, JSON.

Guarantees: it lists exactly what `requirements/runtime.lock` pins, each with its version, the
hashes of every file that may be installed, its licence, and what asks for it; and the libraries of
the management UI, which are part of Everlog's own files, by the lock that lies beside them. The
same locks give the same bytes, since nothing in it tells when or where it was written. It is part
of the wheel, and a test compares it with the locks.
What is left to others: what stands beside Everlog in an image, such as Python and the system's
libraries (a scanner of images knows those), and known vulnerabilities (`make audit`).
"""

import argparse
import base64
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
VENDOR_LOCK = ROOT / "src" / "everlog" / "ui" / "browser" / "vendor" / "vendor.lock.json"
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
    locks = (path.read_text(encoding="ascii") for path in (RUNTIME_LOCK, VENDOR_LOCK))
    output.write_text(render(*locks), encoding="utf-8")
    print(output)


def render(lock: str, vendor_lock: str) -> str:
    """Return the bill of both locks."""
    packages = list(read_lock(lock))
    vendored = [vendored_component(*each) for each in json.loads(vendor_lock)["packages"].items()]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": everlog()},
        "components": [*map(component, packages), *vendored],
        "dependencies": dependencies(packages, [found["purl"] for found in vendored]),
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


def vendored_component(name: str, package: dict[str, str]) -> dict[str, Any]:
    """Return a package of npm's that is part of what browsers are given."""
    url = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
    _, _, digest = package["integrity"].partition("sha512-")
    distribution = {
        "type": "distribution",
        "url": url,
        "comment": "What the library in everlog/ui/browser/vendor was made from.",
        "hashes": [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}],
    }
    return {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": package["version"],
        "purl": url,
        "scope": "required",
        "licenses": [{"expression": package["licence"]}],
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


def dependencies(packages: list[Package], vendored: list[str]) -> list[dict[str, Any]]:
    urls = {package.name: package.url for package in packages}
    asks_for: dict[str, list[str]] = {url: [] for url in ("everlog", *urls.values(), *vendored)}
    for package in packages:
        for name in package.asked_for_by:
            asks_for["everlog" if name == PROJECT else urls[name]].append(package.url)
    asks_for["everlog"] += vendored
    return [{"ref": ref, "dependsOn": urls} for ref, urls in asks_for.items()]


if __name__ == "__main__":
    main()

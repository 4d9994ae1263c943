"""What is shipped is locked, asked about, and listed: locks, audit, and the bill of materials."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from everlog._version import __version__
from tests.support.locks import locked_versions
from tests.support.pages import read_page
from tests.support.sources import REPOSITORY
from tools import sbom

RUNTIME_LOCK = (REPOSITORY / "requirements" / "runtime.lock").read_text(encoding="ascii")
VENDOR_LOCK = sbom.VENDOR_LOCK.read_text(encoding="ascii")


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the bill as `make sbom` writes it."""
    # Every worker would import it with this file, and it takes more than a second.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - as said above
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - as said above

    path = tmp_path_factory.mktemp("bill") / "dist" / "everlog.cdx.json"
    script = REPOSITORY / "tools" / "sbom.py"
    subprocess.run([sys.executable, script, "--output", path], check=True, capture_output=True)
    text = path.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill: dict[str, Any] = json.loads(text)
    return bill


def test_make_sbom_runs_the_script() -> None:
    assert "python tools/sbom.py\n" in read_page("Makefile")


@pytest.mark.slow
def test_the_bill_in_the_wheel_is_that_of_the_lock_and_the_version() -> None:
    assert sbom.BILL.read_text(encoding="utf-8") == sbom.render(RUNTIME_LOCK, VENDOR_LOCK), (
        "run `make sbom`"
    )


@pytest.mark.slow
def test_the_bill_lists_every_package_with_its_version_and_hashes(bill: dict[str, Any]) -> None:
    components = [found for found in bill["components"] if found["purl"].startswith("pkg:pypi/")]
    listed = {component["name"]: component for component in components}
    versions = {name: component["version"] for name, component in listed.items()}

    assert versions.items() >= locked_versions("runtime").items()
    assert len(listed) == len(re.findall(r"^\S+==", RUNTIME_LOCK, re.MULTILINE))
    hashes = [
        found["content"]
        for component in components
        for found in component["externalReferences"][0]["hashes"]
    ]
    assert sorted(hashes) == sorted(re.findall(r"sha256:([0-9a-f]{64})", RUNTIME_LOCK))


@pytest.mark.slow
def test_the_bill_lists_what_browsers_are_given(bill: dict[str, Any]) -> None:
    components = [found for found in bill["components"] if found["purl"].startswith("pkg:npm/")]
    packages = json.loads(VENDOR_LOCK)["packages"]

    assert {found["name"]: found["version"] for found in components} == {
        name: package["version"] for name, package in packages.items()
    }
    view = next(found for found in components if found["name"] == "@codemirror/view")
    version = packages["@codemirror/view"]["version"]
    assert view["purl"] == f"pkg:npm/%40codemirror/view@{version}"
    assert re.fullmatch("[0-9a-f]{128}", view["externalReferences"][0]["hashes"][0]["content"])
    needs = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    assert view["purl"] in needs["everlog"]


@pytest.mark.slow
def test_the_bill_says_what_everlog_is_and_what_it_needs(bill: dict[str, Any]) -> None:
    everlog = bill["metadata"]["component"]
    needs = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    versions = locked_versions("runtime")

    assert (everlog["name"], everlog["version"]) == ("everlog", __version__)
    assert f"pkg:pypi/numpy@{versions['numpy']}" in needs["everlog"]
    assert needs[f"pkg:pypi/cryptography@{versions['cryptography']}"] == [
        f"pkg:pypi/cffi@{versions['cffi']}"
    ]
    assert all(component["licenses"] for component in bill["components"])


def test_the_same_lock_gives_the_same_bill_and_another_one_another() -> None:
    changed = RUNTIME_LOCK.replace("--hash=sha256:0", "--hash=sha256:1", 1)

    first, again = (sbom.render(RUNTIME_LOCK, VENDOR_LOCK) for _ in range(2))
    assert first == again
    bills = (first, sbom.render(changed, VENDOR_LOCK), sbom.render(RUNTIME_LOCK, '{"packages":{}}'))
    assert len({json.loads(bill)["serialNumber"] for bill in bills}) == 3


@pytest.mark.parametrize("name", ["runtime", "build"])
def test_what_is_shipped_has_the_versions_that_are_tested(name: str) -> None:
    shipped = locked_versions(name)

    assert shipped.items() <= locked_versions("development").items()


def test_what_is_shipped_has_what_the_project_asks_for_and_no_tools() -> None:
    runtime = locked_versions("runtime")

    assert {"click", "cryptography", "msgspec", "numpy", "uvloop"} <= runtime.keys()
    assert not {"hatchling", "pip", "pytest", "ruff"}.intersection(runtime)


@pytest.mark.parametrize("name", ["runtime", "build"])
def test_a_lock_of_what_is_shipped_pins_hashes_and_names_no_registry(name: str) -> None:
    text = (REPOSITORY / "requirements" / f"{name}.lock").read_text(encoding="ascii")
    pins = re.findall(r"^\S+==[^\n]+\\\n    --hash=sha256:", text, re.MULTILINE)

    assert len(pins) == len(re.findall(r"^\S+==", text, re.MULTILINE)) > 0
    assert "://" not in text


def test_the_audit_asks_about_every_package_and_fails_where_it_cannot() -> None:
    makefile = read_page("Makefile")
    audited = re.findall(r"pip-audit \$\(AUDIT_OPTIONS\) .*requirements/(\S+)\.lock", makefile)
    locks = {path.stem for path in Path(REPOSITORY, "requirements").glob("*.lock")}

    # Without it, a package that the service does not answer for is skipped, and all looks well.
    assert "AUDIT_OPTIONS = --strict " in makefile
    known = {item for name in audited for item in locked_versions(name).items()}
    for name in locks:
        assert locked_versions(name).items() <= known

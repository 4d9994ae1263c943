"""A release: what is built, what keeps it from being published, and what the forge does with it."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import yaml

from everlog._version import __version__
from tests.support.pages import INSTALLING_SECONDS, read_page
from tests.support.sources import REPOSITORY, repository_sources
from tools import release

FORGE = REPOSITORY / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_make_release_runs_the_script() -> None:
    recipe = ".venv/bin/python tools/release.py --output dist $(RELEASE_OPTIONS)\n"

    assert recipe in read_page("Makefile")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a release of what is there, signed with a new key, and return where it is."""
    folder = tmp_path_factory.mktemp("release")
    key = folder / "key"
    make_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(key)]
    subprocess.run(make_key, check=True)
    script = [sys.executable, str(REPOSITORY / "tools" / "release.py"), "--uncommitted"]
    done = subprocess.run(
        [*script, "--output", str(folder / "dist"), "--signing-key", str(key)],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=INSTALLING_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_release_is_summed_up_and_signed(built: Path) -> None:
    dist = built / "dist"
    sums = dict(
        reversed(line.split("  ")) for line in (dist / release.SUMS).read_text().splitlines()
    )
    assert {path.name for path in dist.iterdir()} == {*sums, release.SUMS, f"{release.SUMS}.sig"}
    for name, digest in sums.items():
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest

    public = (built / "key.pub").read_text()
    (built / "signers").write_text(f"everlog {public}")
    verify = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "everlog"]
    verify += ["-n", release.SIGNATURE_NAMESPACE, "-s", f"dist/{release.SUMS}.sig"]
    for text, is_right in (((dist / release.SUMS).read_bytes(), True), (b"other", False)):
        done = subprocess.run(verify, cwd=built, input=text, capture_output=True, check=False)
        assert (done.returncode == 0) == is_right


@pytest.mark.slow
def test_the_wheel_says_what_it_is_and_what_it_was_tested_with(built: Path) -> None:
    folder = f"everlog-{__version__}.dist-info"
    with zipfile.ZipFile(built / "dist" / release.WHEEL) as wheel:
        metadata = wheel.read(f"{folder}/METADATA")
        bill = json.loads(wheel.read(f"{folder}/sboms/everlog.cdx.json"))
        names = wheel.namelist()

    described = message_from_bytes(metadata)
    assert (described["Name"], described["Version"]) == ("everlog", __version__)
    assert described["Description-Content-Type"] == "text/markdown"
    assert metadata.decode().endswith(f"\n\n{read_page('README.md')}")
    assert described["Requires-Python"] == PROJECT["requires-python"]
    assert set(described.get_all("Classifier", [])) == set(PROJECT["classifiers"])
    assert bill["metadata"]["component"]["purl"] == f"pkg:pypi/everlog@{__version__}"
    assert "everlog/py.typed" in names
    pages = f"everlog-{__version__}.data/data/share/man/man1/"
    assert {name.removeprefix(pages) for name in names if name.startswith(pages)} == {
        path.name for path in (REPOSITORY / "man").glob("*.1")
    }
    # What browsers are given, and its licences.
    browser = REPOSITORY / "src" / "everlog" / "ui" / "browser"
    files = {path.relative_to(browser.parents[2]) for path in browser.rglob("*") if path.is_file()}
    assert Path("everlog/ui/browser/vendor/LICENSES") in files
    assert {file.as_posix() for file in files} <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


def write_wheel(folder: Path, changes: dict[str, bytes | None]) -> Path:
    """Write a wheel that is right, but for some files that are others, or that are not there."""
    described = "".join(f"{name}: x\n" for name in release.DESCRIBED_BY)
    bill = {"metadata": {"component": {"version": __version__}}}
    folder_of_metadata = f"everlog-{__version__}.dist-info"
    files: dict[str, bytes | None] = {
        **dict.fromkeys(release.IN_EVERY_WHEEL, b""),
        f"{folder_of_metadata}/METADATA": described.encode(),
        f"{folder_of_metadata}/sboms/everlog.cdx.json": json.dumps(bill).encode(),
        **changes,
    }
    path = folder / release.WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            if content is not None:
                wheel.writestr(name, content)
    return path


def test_a_wheel_that_is_right_passes(tmp_path: Path) -> None:
    release.check_wheel(write_wheel(tmp_path, {}))


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("everlog/py.typed", None, "the wheel has no everlog/py.typed."),
        ("tests/test_a.py", b"", "the wheel has tests/test_a.py."),
        (
            f"everlog-{__version__}.dist-info/METADATA",
            b"Summary: x\n",
            "the wheel does not say its License-Expression, Keywords",
        ),
        (
            f"everlog-{__version__}.dist-info/sboms/everlog.cdx.json",
            b'{"metadata": {"component": {"version": "0.0.1"}}}',
            "the bill of materials is of another version",
        ),
    ],
    ids=["untyped", "stranger", "silent", "other bill"],
)
def test_a_wheel_that_is_not_right_is_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    with pytest.raises(release.ReleaseError, match=re.escape(reason)):
        release.check_wheel(write_wheel(tmp_path, {name: content}))


def test_two_builds_that_differ_in_a_byte_are_refused(tmp_path: Path) -> None:
    for folder, content in (("first", b"a"), ("second", b"b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / release.WHEEL).write_bytes(b"same")
        (tmp_path / folder / release.SOURCES).write_bytes(content)

    with pytest.raises(release.ReleaseError, match="not the same, byte for byte"):
        release.compare(tmp_path / "first", tmp_path / "second")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository of what a release is judged by, ready to be published."""
    for name, text in (
        ("pyproject.toml", '[project.urls]\nRepository = "https://forge.org/everlog"\n'),
        ("CHANGELOG.md", f"# Changelog\n\n## [{__version__}]\n"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(release, "ROOT", tmp_path)
    for variable in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{variable}_NAME", "tests")
        monkeypatch.setenv(f"{variable}_EMAIL", "tests@everlog.example")
    release.git("init", "--quiet")
    release.git("add", ".")
    release.git("commit", "--quiet", "--message=One")
    release.git("tag", f"v{__version__}")
    return tmp_path


@pytest.mark.usefixtures("checkout")
def test_nothing_keeps_what_is_ready_from_being_published() -> None:
    assert not list(release.find_obstacles())
    assert release.committed_files() == ["CHANGELOG.md", "pyproject.toml"]


@pytest.mark.parametrize(
    "url",
    ["https://everlog.example/a", "http://example.com", "https://a.test/", "https://x.invalid"],
)
def test_a_url_that_leads_nowhere_is_not_published(checkout: Path, url: str) -> None:
    (checkout / "pyproject.toml").write_text(
        f'[project.urls]\nIssues = "{url}"\nA = "https://b.c"\n'
    )

    assert list(release.find_obstacles()) == ["pyproject.toml has no real URL yet for Issues."]


def test_a_version_without_a_section_or_a_tag_is_not_published(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    release.git("commit", "--quiet", "--all", "--message=Two")

    assert list(release.find_obstacles()) == [
        f"CHANGELOG.md has no section for {__version__}.",
        f"the commit has no tag v{__version__}.",
    ]


def test_what_is_not_committed_is_not_released(checkout: Path) -> None:
    (checkout / "new.py").touch()

    with pytest.raises(release.ReleaseError, match=r"commit or remove these first:\n.*new\.py"):
        release.committed_files()


@pytest.mark.parametrize(
    "schema, pattern",
    [
        ("vendor.github-workflows", "workflows/*.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
        ("vendor.dependabot", "dependabot.yml"),
    ],
    ids=["workflows", "issues", "issue settings", "updates"],
)
def test_the_forge_understands_its_files(schema: str, pattern: str) -> None:
    files = sorted(map(str, FORGE.glob(pattern)))
    assert files

    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def jobs_of(path: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return jobs


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))

    assert used
    for action, comment in used:
        assert action.startswith("./") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)
        assert action.startswith("./") or re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_job_may_do_more_than_it_has_to(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        # Whoever may write runs nothing of the tests or of the build.
        if "write" in job.get("permissions", {}).values():
            assert name in {"publish", "image"}
        assert "timeout-minutes" in job or "uses" in job
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            # What a stranger chose is no part of a script.
            assert "${{" not in step.get("run", "")


def test_the_forge_tests_with_every_python_that_the_package_names() -> None:
    named = [
        classifier.rpartition(" :: ")[2]
        for classifier in PROJECT["classifiers"]
        if re.search(r":: 3\.\d+$", classifier)
    ]
    job = jobs_of(FORGE / "workflows" / "test.yml")["test"]

    assert job["strategy"]["matrix"]["python"] == named
    assert [f">={named[0]}"] == [PROJECT["requires-python"]]


def test_nothing_is_published_that_was_not_tested_and_built() -> None:
    jobs = jobs_of(FORGE / "workflows" / "release.yml")

    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["build"]["needs"] == "test"
    assert {jobs[name]["needs"] for name in ("publish", "image")} == {"build"}
    assert any("--publishable" in step.get("run", "") for step in jobs["build"]["steps"])


def test_what_workflows_run_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read_page("Makefile"), re.MULTILINE))
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)

    assert set(re.findall(r"\bmake ([a-z-]+)", text)) == {"test", "release"} <= targets
    assert (REPOSITORY / "tools" / "system_packages.py").is_file()
    assert "--file deploy/docker/Dockerfile" in text


def test_everything_that_is_deployed_is_of_this_version() -> None:
    named = {
        (source.path, version)
        for source in repository_sources()
        if source.path.startswith(("deploy/", "docs/operating/"))
        for version in re.findall(r"\beverlog:(\d+\.\d+\S*)", source.text)
    }

    assert len(named) >= 5
    assert {version for _, version in named} == {__version__}

"""What opens the source of a follower: a token from a file, and certificates to trust."""

import ssl
from pathlib import Path

import pytest

from everlog.credentials.source_access import load_source_access
from everlog.domain.errors import SettingsError
from tests.support.certificates import issue, write_files


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "token"


@pytest.mark.parametrize(
    "content", ["secret", "secret\n", "\n  secret \r\n", "secret\nanother\n"], ids=range(4)
)
def test_the_first_line_is_the_token(token_file: Path, content: str) -> None:
    token_file.write_text(content)

    assert load_source_access(token_file, None).token == "secret"


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "there is no token in it"),
        (" \n\n", "there is no token in it"),
        ("se\u00e4cret", "must consist of printable ASCII characters"),
        ("x" * 100_000, "is larger than"),
    ],
    ids=["empty", "blank", "not-ascii", "large"],
)
def test_what_cannot_be_a_token_is_refused_and_not_shown(
    token_file: Path, content: str, reason: str
) -> None:
    token_file.write_text(content)

    with pytest.raises(SettingsError, match=reason) as refusal:
        load_source_access(token_file, None)

    assert str(refusal.value).startswith(f"--follow-token-file {token_file}")
    assert "cret" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(token_file: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: No such file"):
        load_source_access(token_file, None)


def test_certificates_are_trusted_besides_those_of_the_system(
    tmp_path: Path, token_file: Path
) -> None:
    token_file.write_text("secret")
    without = load_source_access(token_file, None).context
    files = write_files(tmp_path, issue())

    context = load_source_access(token_file, files.certificate).context

    count = context.cert_store_stats()["x509"]
    assert count == without.cert_store_stats()["x509"] + 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_what_is_no_certificate_is_refused(tmp_path: Path, token_file: Path) -> None:
    token_file.write_text("secret")
    ca_file = tmp_path / "ca"
    for content in (b"", b"nonsense", b"\xff"):
        ca_file.write_bytes(content)

        with pytest.raises(SettingsError, match="it holds no certificate in PEM"):
            load_source_access(token_file, ca_file)

"""What is generated is strong, can be used, is for its owner only, and replaces nothing."""

import os
import ssl
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from everlog.cli.main import cli
from everlog.credentials.certificate import CertificateFiles, load_certificate
from everlog.credentials.new_files import write_new_files
from everlog.credentials.signing_key import load_signing_key
from everlog.credentials.token import parse_token
from everlog.domain.checkpoint import CheckpointKey
from everlog.domain.errors import SettingsError
from everlog.domain.note import VerifierKey
from everlog.domain.signature import VerificationKey, sign, verify


def generate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)])


def check_refused(*arguments: object, text: str) -> None:
    result = generate(*arguments)

    assert result.exit_code == 2
    assert text in result.output


def check_is_private(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture(autouse=True)
def _open_umask() -> object:
    """Let the mode of files be that of the code, not that of the environment."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_token_is_strong_and_never_the_same() -> None:
    tokens = {generate("api-token").output for _ in range(50)}

    assert len(tokens) == 50
    for token in tokens:
        assert len(token) == len("\n") + 48
        assert parse_token(token.strip().encode()).weaknesses == ()


def test_a_signing_key_is_written_and_its_verification_key_shown(tmp_path: Path) -> None:
    file = tmp_path / "signing-key.pem"

    result = generate("signing-key", "--file", file)

    check_is_private(file)
    key = load_signing_key(file)
    assert key is not None
    verification_key = VerificationKey.from_pem(result.output.encode())
    assert verify(verification_key, "hash", sign(key, "hash"))


def test_a_certificate_can_be_used_for_the_hosts_that_it_names(tmp_path: Path) -> None:
    files = CertificateFiles(
        certificate=tmp_path / "tls.crt", private_key=tmp_path / "tls.key", passphrase=None
    )

    result = generate(
        "certificate", "--certificate-file", files.certificate, "--private-key-file",
        files.private_key, "--host", "everlog.test", "--host", "::1", "--days", 7,
    )  # fmt: skip

    assert result.output == ""
    check_is_private(files.private_key)
    check_is_private(files.certificate)
    now = datetime.now(UTC)
    assert load_certificate(files, now=now).remaining_days(now) == 6
    (certificate,) = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["everlog.test", "::1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert now - certificate.not_valid_before_utc > timedelta(minutes=50)
    # What clients are told to trust.
    assert ssl.create_default_context(cafile=str(files.certificate)).get_ca_certs() == []


def test_who_trusts_two_certificates_accepts_either(tmp_path: Path) -> None:
    pairs = [
        CertificateFiles(
            certificate=tmp_path / f"{name}.crt", private_key=tmp_path / f"{name}.key",
            passphrase=None,
        )
        for name in ("old", "new")
    ]  # fmt: skip
    for pair in pairs:
        files = ("--certificate-file", pair.certificate, "--private-key-file", pair.private_key)
        generate("certificate", *files, "--host", "everlog.test")
    trusted = "".join(pair.certificate.read_text() for pair in pairs)

    for pair in pairs:
        shake_hands(pair, trusted=trusted)


def shake_hands(files: CertificateFiles, *, trusted: str) -> None:
    """Connect a client with a server, both in memory; it fails where trust is missing."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(files.certificate, files.private_key)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    asking = ssl.create_default_context(cadata=trusted)
    client = asking.wrap_bio(to_client, to_server, server_hostname="everlog.test")
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() == server.version() == "TLSv1.3"


@pytest.mark.parametrize("host", ["", "a b", "caf\u00e9", "-" * 64, "a..b", "http://a"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    files = ("--certificate-file", tmp_path / "a", "--private-key-file", tmp_path / "b")

    check_refused("certificate", *files, f"--host={host}", text="neither a name nor an address")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_key_is_written_and_its_verifier_keys_shown(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint-key.pem"

    result = generate("checkpoint-key", "--file", file, "--origin", "log.example.com")

    check_is_private(file)
    key = CheckpointKey.from_pem(file.read_bytes())
    assert key.ml_dsa_44 is not None
    shown = [VerifierKey.parse(line) for line in result.output.splitlines()]
    assert shown == key.verifier_keys("log.example.com")
    check_refused("checkpoint-key", "--file", file, "--origin", "other", text="exists already")


def test_a_checkpoint_key_needs_no_name_yet_and_its_verifier_keys_can_be_had_later(
    tmp_path: Path,
) -> None:
    file, named = tmp_path / "checkpoint-key.pem", ("--origin", "log.example.com")

    assert generate("checkpoint-key", "--file", file).output == ""

    check_is_private(file)
    keys = CheckpointKey.from_pem(file.read_bytes()).verifier_keys("log.example.com")
    result = generate("verifier-keys", "--checkpoint-key-file", file, *named)
    assert result.output.splitlines() == list(map(str, keys))
    missing = ("--checkpoint-key-file", tmp_path / "missing")
    check_refused("verifier-keys", *missing, *named, text="--checkpoint-key-file")
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"rubbish")
    check_refused("verifier-keys", "--checkpoint-key-file", rubbish, *named, text="rubbish")


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "x" * 256])
def test_an_origin_that_no_key_can_have_is_refused_before_anything_is_written(
    tmp_path: Path, origin: str
) -> None:
    file = tmp_path / "checkpoint-key.pem"

    check_refused("checkpoint-key", "--file", file, "--origin", origin, text="names the log")
    assert not file.exists()


def test_nothing_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    new = tmp_path / "new"

    for existing in (file, link):
        text = f"{existing} exists already"
        check_refused("signing-key", "--file", existing, text=text)
        for first, second in ((existing, new), (new, existing)):
            files = ("--certificate-file", first, "--private-key-file", second)
            check_refused("certificate", *files, text=text)

    assert file.read_bytes() == b"precious"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "file"

    check_refused("signing-key", "--file", file, text=f"{file} cannot be written: No such file")
    files = ("--certificate-file", tmp_path / "a", "--private-key-file", tmp_path / "a")
    check_refused("certificate", *files, text="need a file each")


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"")

    with pytest.raises(SettingsError):
        write_new_files({tmp_path / "a": b"a", tmp_path / "b": b"b", tmp_path / "c": b"c"})

    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("command", ["api-token", "signing-key", "certificate"])
def test_the_help_shows_how_to_go_on(command: str) -> None:
    output = generate(command, "--help").output

    assert f"everlog generate {command}" in output
    assert "everlog run" in output

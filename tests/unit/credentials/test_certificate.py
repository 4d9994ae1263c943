"""Which certificates and keys can be used, and what is said about the others."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everlog.credentials.certificate import Certificate, CertificateFiles, load_certificate
from everlog.domain.errors import SettingsError
from tests.support.certificates import (
    PASSPHRASE,
    Issued,
    PrivateKey,
    issue,
    new_ecdsa_key,
    new_rsa_key,
    write_files,
)

PKCS8 = PrivateFormat.PKCS8
# PKCS#1 for RSA, SEC1 for ECDSA.
TRADITIONAL = PrivateFormat.TraditionalOpenSSL

KEYS = (new_ecdsa_key(), ec.generate_private_key(ec.SECP384R1()), new_rsa_key())


def load(directory: Path, *, passphrase: bytes | None = None) -> Certificate:
    file = None
    if passphrase is not None:
        file = directory / "passphrase"
        file.write_bytes(passphrase)
    files = CertificateFiles(
        certificate=directory / "tls.crt", private_key=directory / "tls.key", passphrase=file
    )
    return load_certificate(files, now=datetime.now(UTC))


def check_refused(directory: Path, *texts: str, passphrase: bytes | None = None) -> None:
    with pytest.raises(SettingsError) as caught:
        load(directory, passphrase=passphrase)
    for text in texts:
        assert text in str(caught.value)
    assert PASSPHRASE.decode() not in str(caught.value)


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
@pytest.mark.parametrize("key", KEYS, ids=["P-256", "P-384", "RSA"])
def test_rsa_and_ecdsa_keys_are_taken_in_every_form(
    tmp_path: Path, key: PrivateKey, form: PrivateFormat
) -> None:
    issued = issue(key=key)
    write_files(tmp_path, issued, form=form)

    assert load(tmp_path).expires_at == issued.certificate.not_valid_after_utc


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_an_encrypted_key_needs_its_passphrase(
    tmp_path: Path, form: PrivateFormat, ending: bytes
) -> None:
    write_files(tmp_path, issue(), form=form, passphrase=PASSPHRASE)

    load(tmp_path, passphrase=PASSPHRASE + ending)
    check_refused(tmp_path, "is encrypted: add --https-private-key-passphrase-file")
    check_refused(tmp_path, "passphrase", passphrase=b"wrong")
    check_refused(tmp_path, "passphrase", passphrase=b"")


def test_a_key_with_its_curve_in_front_is_taken_as_openssl_writes_it(tmp_path: Path) -> None:
    issued = issue()
    files = write_files(tmp_path, issued, form=TRADITIONAL)
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    files.private_key.write_bytes(curve + files.private_key.read_bytes())

    load(tmp_path)


def test_a_passphrase_that_no_key_can_have_is_told(tmp_path: Path) -> None:
    write_files(tmp_path, issue(), passphrase=PASSPHRASE)

    check_refused(tmp_path, "cannot be used together", passphrase=b"x" * 2_000)


def test_a_passphrase_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    files = write_files(tmp_path, issue(), passphrase=PASSPHRASE)
    missing = CertificateFiles(
        certificate=files.certificate,
        private_key=files.private_key,
        passphrase=tmp_path / "missing",
    )

    with pytest.raises(SettingsError, match="--https-private-key-passphrase-file") as caught:
        load_certificate(missing, now=datetime.now(UTC))
    assert "does not exist" in str(caught.value)


def test_a_chain_is_taken_with_the_servers_certificate_first(tmp_path: Path) -> None:
    root = issue(is_authority=True)
    intermediate = issue(issuer=root, is_authority=True)
    leaf = issue(issuer=intermediate, ends=timedelta(days=40))
    write_files(tmp_path, leaf, chain=(intermediate, root))

    assert load(tmp_path).expires_at == leaf.certificate.not_valid_after_utc

    write_files(tmp_path, intermediate, key=leaf.key, chain=(leaf,))
    check_refused(tmp_path, "the key does not belong to the first certificate in the file")


def test_only_the_servers_own_certificate_must_be_valid_now(tmp_path: Path) -> None:
    root = issue(is_authority=True, ends=timedelta(hours=-1))
    write_files(tmp_path, issue(issuer=root), chain=(root,))

    load(tmp_path)


@pytest.mark.parametrize(
    "starts, ends, text",
    [
        (timedelta(days=-2), timedelta(seconds=-5), "expired on 2"),
        (timedelta(seconds=30), timedelta(days=2), "is not valid before 2"),
    ],
)
def test_a_certificate_that_clients_would_refuse_is_refused(
    tmp_path: Path, starts: timedelta, ends: timedelta, text: str
) -> None:
    write_files(tmp_path, issue(starts=starts, ends=ends))

    check_refused(tmp_path, "--https-certificate-file", "tls.crt", text, "UTC")


@pytest.mark.parametrize("other", KEYS, ids=["P-256", "P-384", "RSA"])
def test_a_key_that_belongs_to_another_certificate_is_refused(
    tmp_path: Path, other: PrivateKey
) -> None:
    write_files(tmp_path, issue(), key=other)

    check_refused(tmp_path, "cannot be used together: the key does not belong to the first")


def test_a_small_key_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, issue(key=new_rsa_key(1024)))

    check_refused(tmp_path, "an RSA key needs 2048 bits at least")


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_what_is_no_certificate_or_no_key_is_told(tmp_path: Path, content: bytes) -> None:
    files = write_files(tmp_path, issue())
    files.private_key.write_bytes(content)
    check_refused(tmp_path, "tls.key", "PEM")

    files.certificate.write_bytes(content)
    check_refused(tmp_path, "tls.crt", "holds no certificate as PEM")


@pytest.mark.parametrize("name, flag", [("crt", "certificate"), ("key", "private-key")])
def test_what_is_missing_or_a_directory_is_told(tmp_path: Path, name: str, flag: str) -> None:
    write_files(tmp_path, issue())
    path = tmp_path / f"tls.{name}"
    path.unlink()
    check_refused(tmp_path, f"--https-{flag}-file {path} does not exist")

    path.mkdir()
    check_refused(tmp_path, f"--https-{flag}-file {path} cannot be read: Is a directory")


def test_a_certificate_that_is_replaced_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_files(tmp_path, issue())
    load_chain = ssl.SSLContext.load_cert_chain
    other = issue().pem

    def replace_after(context: ssl.SSLContext, *arguments: object, **options: object) -> None:
        load_chain(context, *arguments, **options)  # type: ignore[arg-type]  # passed on
        files.certificate.write_bytes(other)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", replace_after)

    check_refused(tmp_path, "is being replaced")


def test_the_context_offers_nothing_that_is_broken(tmp_path: Path) -> None:
    write_files(tmp_path, issue())

    context = load(tmp_path).context

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.maximum_version is ssl.TLSVersion.MAXIMUM_SUPPORTED
    ciphers = context.get_ciphers()
    assert {cipher["protocol"] for cipher in ciphers} == {"TLSv1.3", "TLSv1.2"}
    for cipher in ciphers:
        assert cipher["aead"]
        # TLS 1.3 knows no other exchange.
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-")
    assert ssl.OP_NO_RENEGOTIATION in context.options


@pytest.mark.parametrize("days", [0, 1, 29, 30, 400])
def test_whole_days_remain(tmp_path: Path, days: int) -> None:
    issued: Issued = issue(ends=timedelta(days=days, hours=1))
    write_files(tmp_path, issued)

    assert load(tmp_path).remaining_days(datetime.now(UTC)) == days


def test_the_key_may_stand_in_the_certificates_file(tmp_path: Path) -> None:
    issued = issue()
    files = write_files(tmp_path, issued)
    pem = issued.key.private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    files.certificate.write_bytes(pem + issued.pem)

    both = CertificateFiles(
        certificate=files.certificate, private_key=files.certificate, passphrase=None
    )
    load_certificate(both, now=datetime.now(UTC))

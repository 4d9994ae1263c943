"""`everlog generate certificate`: HTTPS for development."""

from datetime import UTC, datetime
from pathlib import Path

import click

from everlog.credentials.generate import new_certificate, write_new_files
from everlog.domain.errors import SettingsError

_FILE = click.Path(path_type=Path)

_HELP = """Write a self-signed certificate and its key, for development.

Clients trust it only if they are told to. For more than development, get a certificate from an
authority, your own or a public one.

\b
Example:
  everlog generate certificate --certificate-file tls.crt --private-key-file tls.key
  everlog run --https-certificate-file tls.crt --https-private-key-file tls.key ...
  curl --cacert tls.crt https://localhost:4000/api/v1/ping
"""


@click.command(help=_HELP, context_settings={"show_default": True})
@click.option(
    "--certificate-file",
    type=_FILE,
    required=True,
    help="Where the certificate goes; it must not exist.",
)
@click.option(
    "--private-key-file",
    type=_FILE,
    required=True,
    help="Where its private key goes; it must not exist.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1", "::1"),
    help="A name or an address by which clients reach the server; may be given several times.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=365, help="How long it is valid.")
def certificate(
    certificate_file: Path, private_key_file: Path, hosts: tuple[str, ...], days: int
) -> None:
    """Write a self-signed certificate and its key, for development."""
    if certificate_file == private_key_file:
        raise click.UsageError("the certificate and its private key need a file each")
    try:
        pair = new_certificate(hosts, days=days, now=datetime.now(UTC))
        write_new_files({private_key_file: pair.private, certificate_file: pair.public})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error

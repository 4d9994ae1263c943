"""`everlog generate signing-key`: the key that signs events."""

from pathlib import Path

import click

from everlog.credentials.generate import new_signing_key, write_new_files
from everlog.domain.errors import SettingsError

_HELP = """Write a new signing key, and print its verification key.

The signing key (Ed25519, PKCS#8 PEM) stays with the server. The verification key is for those who
verify signatures; it is no secret, and can be had from the signing key again:
openssl pkey -in signing-key.pem -pubout

\b
Example:
  everlog generate signing-key --file signing-key.pem > verification-key.pem
  everlog run --signing-key-file signing-key.pem ...
"""


@click.command(name="signing-key", help=_HELP)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    required=True,
    help="Where the signing key goes; it must not exist.",
)
def signing_key(file: Path) -> None:
    """Write a new signing key, and print its verification key."""
    pair = new_signing_key()
    try:
        write_new_files({file: pair.private})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    click.echo(pair.public, nl=False)

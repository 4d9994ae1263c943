"""`everlog generate`: what a server needs and must not be made up by a person."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from everlog.credentials.new_files import write_new_files
from everlog.credentials.token import LENGTH_OF_NEW, new_api_token
from everlog.domain.errors import SettingsError

# Whoever opens it says what is wrong with it, and knows the exit code.
_FILE: Final = click.Path(path_type=Path, readable=False)

_ORIGIN_HELP: Final = (
    "The name of the log, as a URL without https://, such as log.example.com/orders."
)

_HELP: Final = """Make tokens, keys and certificates.

Everything comes from the system's source of randomness. Files are created with mode 0600, for
their owner only, and a file that exists is never replaced.
"""

_API_TOKEN_HELP: Final = f"""Print a strong API token: {LENGTH_OF_NEW} random letters and digits.

\b
Keep it in a file that nobody else can read:
  (umask 077; everlog generate api-token > api-token)
  everlog run --api-token-file api-token ...
"""

_CERTIFICATE_HELP: Final = """Write a self-signed certificate and its key, for development.

Clients trust it only if they are told to. For more than development, get a certificate from an
authority, your own or a public one.

\b
Example:
  everlog generate certificate --certificate-file tls.crt --private-key-file tls.key
  everlog run --https-certificate-file tls.crt --https-private-key-file tls.key ...
  curl --cacert tls.crt https://localhost:4000/api/v1/ping
"""

_SIGNING_KEY_HELP: Final = """Write a new signing key, and print its verification key.

The signing key (Ed25519, PKCS#8 PEM) stays with the server. The verification key is for those who
verify signatures; it is no secret, and can be had from the signing key again:
openssl pkey -in signing-key.pem -pubout

\b
Example:
  everlog generate signing-key --file signing-key.pem > verification-key.pem
  everlog run --signing-key-file signing-key.pem ...
"""


_CHECKPOINT_KEY_HELP: Final = """Write a new checkpoint key, and print its verifier keys.

The checkpoint key (Ed25519 and ML-DSA-44, PKCS#8 PEM) stays with the server. The verifier keys, one
a line, are for those who verify checkpoints and proofs, and for witnesses, which take the first
one; they are no secret. They hold the origin, which names the log for ever: a log that is begun
anew needs a new one. Without --origin, none are printed; 'everlog generate verifier-keys' does so
at any time.

\b
Example:
  everlog generate checkpoint-key --file checkpoint-key.pem \\
    --origin log.example.com/orders > verifier-keys
  everlog run --checkpoint-key-file checkpoint-key.pem \\
    --checkpoint-origin log.example.com/orders ...
"""


_VERIFIER_KEYS_HELP: Final = """Print the verifier keys of a checkpoint key that is there.

They are what 'everlog generate checkpoint-key' prints, one a line, for a log of this origin.

\b
Example:
  everlog generate verifier-keys --checkpoint-key-file checkpoint-key.pem \\
    --origin log.example.com/orders
"""


@click.group(help=_HELP)
def generate() -> None:
    """Make tokens, keys and certificates."""


@generate.command(name="api-token", help=_API_TOKEN_HELP)
def api_token() -> None:
    """Print a strong API token."""
    click.echo(new_api_token())


@generate.command(help=_CERTIFICATE_HELP, context_settings={"show_default": True})
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
    from everlog.credentials.self_signed import new_certificate

    if certificate_file == private_key_file:
        raise click.UsageError("the certificate and its private key need a file each")
    try:
        pair = new_certificate(hosts, days=days, now=datetime.now(UTC))
        write_new_files({private_key_file: pair.private, certificate_file: pair.public})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


@generate.command(name="signing-key", help=_SIGNING_KEY_HELP)
@click.option(
    "--file",
    type=_FILE,
    required=True,
    help="Where the signing key goes; it must not exist.",
)
def signing_key(file: Path) -> None:
    """Write a new signing key, and print its verification key."""
    from everlog.credentials.signing_key import new_signing_key

    pair = new_signing_key()
    try:
        write_new_files({file: pair.private})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    click.echo(pair.public, nl=False)


@generate.command(name="checkpoint-key", help=_CHECKPOINT_KEY_HELP)
@click.option(
    "--file",
    type=_FILE,
    required=True,
    help="Where the checkpoint key goes; it must not exist.",
)
@click.option("--origin", help=_ORIGIN_HELP)
def checkpoint_key(file: Path, origin: str | None) -> None:
    """Write a new checkpoint key, and print its verifier keys."""
    from everlog.domain.checkpoint import CheckpointKey
    from everlog.domain.note import parse_origin

    try:
        if origin is not None:
            parse_origin(origin)
        key = CheckpointKey.generate()
        write_new_files({file: key.to_pem()})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    for verifier_key in key.verifier_keys(origin) if origin is not None else ():
        click.echo(verifier_key)


@generate.command(name="verifier-keys", help=_VERIFIER_KEYS_HELP)
@click.option(
    "--checkpoint-key-file", "file", type=_FILE, required=True, help="Where the checkpoint key is."
)
@click.option("--origin", required=True, help=_ORIGIN_HELP)
def verifier_keys(file: Path, origin: str) -> None:
    """Print the verifier keys of a checkpoint key that is there."""
    from everlog.credentials.checkpoint_key import load_checkpoint_key
    from everlog.domain.note import parse_origin

    try:
        parse_origin(origin)
        key = load_checkpoint_key(file)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    for verifier_key in key.verifier_keys(origin):
        click.echo(verifier_key)

"""`everlog generate`: what a server needs and must not be made up by a person."""

import click

from everlog.cli.generate.api_token import api_token
from everlog.cli.generate.certificate import certificate
from everlog.cli.generate.signing_key import signing_key

_HELP = """Make tokens, keys and certificates.

Everything comes from the system's source of randomness. Files are created with mode 0600, for
their owner only, and a file that exists is never replaced.
"""


@click.group(help=_HELP)
def generate() -> None:
    """Make tokens, keys and certificates."""


generate.add_command(api_token)
generate.add_command(certificate)
generate.add_command(signing_key)

"""`everlog generate api-token`: a token that nobody guesses."""

import click

from everlog.credentials.generate import TOKEN_LENGTH, new_api_token

_HELP = f"""Print a strong API token: {TOKEN_LENGTH} random letters and digits.

\b
Keep it in a file that nobody else can read:
  (umask 077; everlog generate api-token > api-token)
  everlog run --api-token-file api-token ...
"""


@click.command(name="api-token", help=_HELP)
def api_token() -> None:
    """Print a strong API token."""
    click.echo(new_api_token())

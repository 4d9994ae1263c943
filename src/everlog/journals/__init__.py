"""Journals that several nodes share, on engines that people run: PostgreSQL, NATS JetStream.

Each keeps the promises of `service.mirroring.journal`. `make_journal` imports the library that one
needs, which is an optional extra; nobody else does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from everlog.domain.errors import SettingsError

if TYPE_CHECKING:
    from everlog.service.mirroring.journal import SharedJournal

_POSTGRESQL: Final = ("postgresql", "postgres")
_NATS: Final = ("nats", "tls")

SCHEMES: Final = (*_POSTGRESQL, *_NATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalOptions:
    """Where a journal is, and how it is reached."""

    # May hold a password: never to be shown.
    url: str
    password_file: Path | None = None
    ca_file: Path | None = None
    # NATS only.
    credentials_file: Path | None = None
    replicas: int = 3


def make_journal(options: JournalOptions) -> "SharedJournal":
    """Return a journal that is not connected yet.

    Raises:
        SettingsError: The URL is none of a journal, or the library that it needs is not installed.
    """
    scheme = options.url.partition("://")[0]
    if scheme in _POSTGRESQL:
        return _make_postgresql(options)
    if scheme in _NATS:
        return _make_nats(options)
    message = "--journal must begin with postgresql://, nats:// or tls://"
    raise SettingsError(message)


def _make_postgresql(options: JournalOptions) -> "SharedJournal":
    if options.credentials_file is not None:
        message = "--journal-credentials-file is for NATS: PostgreSQL has --journal-password-file"
        raise SettingsError(message)
    try:
        import psycopg  # noqa: F401 - only to see whether it is there.
    except ImportError as error:
        raise _missing("postgresql") from error
    from everlog.journals.postgresql import PostgresqlJournal

    return PostgresqlJournal(
        options.url, password_file=options.password_file, ca_file=options.ca_file
    )


def _make_nats(options: JournalOptions) -> "SharedJournal":
    try:
        import nats  # noqa: F401 - only to see whether it is there.
    except ImportError as error:
        raise _missing("nats") from error
    from everlog.journals.nats import NatsJournal

    return NatsJournal(
        options.url,
        credentials_file=options.credentials_file,
        password_file=options.password_file,
        ca_file=options.ca_file,
        replicas=options.replicas,
    )


def _missing(extra: str) -> SettingsError:
    message = (
        f"--journal needs a library that is not installed: pip install 'everlog[{extra}]' brings it"
    )
    return SettingsError(message)

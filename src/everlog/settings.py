"""The settings of one server, read once from flags and environment, checked together, frozen."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from everlog.credentials.certificate import CertificateFiles
from everlog.credentials.token import ApiToken
from everlog.domain.chain import HashVersion
from everlog.domain.errors import SettingsError
from everlog.domain.limits import WRITE_COST
from everlog.domain.note import SignatureType, VerifierKey, WitnessAddress, parse_origin
from everlog.texts import redact_url, to_unicode

# So much fits beside the name of a page, also on a phone.
UI_TITLE_LENGTH_MAX: Final = 64
# On each of them white text can be read (WCAG 2.2, 1.4.3).
UI_COLOURS: Final = {
    "red": "#b3261e",
    "orange": "#a64b00",
    "yellow": "#7a5c00",
    "green": "#1b6e3c",
    "blue": "#1a5fb4",
    "purple": "#7a3fa8",
    "grey": "#5c6370",
}
_COLOUR: Final = re.compile("#[0-9a-f]{6}")

# From where a setting is.
Origin = Literal["command line", "environment", "default"]

# Of one server: where more of them would wait for the one that writes.
PROCESSES_MAX: Final = 64

READS_CURRENT: Final = "current"
READS_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class JournalUrl:
    """The URL of a journal, which may hold a password: shown without."""

    secret: str = field(repr=False)

    def __str__(self) -> str:
        return redact_url(self.secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `everlog run` was asked to do; see its `--help` for the meaning of each."""

    api_token: ApiToken | None
    api_token_file: Path | None
    data_directory: Path | None
    data_directory_temporary: bool
    host: str
    http_enabled: bool
    http_port: int
    https_enabled: bool
    https_port: int
    https_certificate_file: Path | None
    https_private_key_file: Path | None
    https_private_key_passphrase_file: Path | None
    # Those that many clients share, such as proxies.
    shared_addresses: tuple[IPv4Network | IPv6Network, ...]
    # How many processes serve: one alone, or an owner and the others.
    processes: int
    # In reads per second; 0 is no limit.
    rate_limit: int
    # In seconds.
    query_time_limit: int
    signing_key_file: Path | None
    hash_version: HashVersion
    checkpoint_key_file: Path | None
    # The name of the log, where checkpoints are made.
    checkpoint_origin: str | None
    # Those that checkpoints are offered to.
    witness: tuple[WitnessAddress, ...]
    read_only: bool
    # The journal that nodes share, None where there is none; its URL may hold a password.
    journal: JournalUrl | None
    journal_password_file: Path | None
    journal_ca_file: Path | None
    journal_credentials_file: Path | None
    journal_replicas: int
    # Whether reads show all that was acknowledged by any node, or what is here.
    reads: str
    # The name of this node, for people.
    node: str
    # The URL of the server that is followed, None where there is none.
    follow: str | None
    follow_token_file: Path | None
    follow_ca_file: Path | None
    with_ui: bool
    # What the pages of the management UI show, so that nobody takes one store for another; the
    # colour as #rrggbb.
    ui_title: str | None
    ui_colour: str | None
    # The lowest level of the log that is written.
    log_level: str
    # One of `telemetry.LOG_FORMATS`.
    log_format: str
    # By the names of the flags.
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def certificate_files(self) -> CertificateFiles | None:
        """What HTTPS needs, None where it is off."""
        if not self.https_enabled:
            return None
        assert self.https_certificate_file is not None
        assert self.https_private_key_file is not None
        return CertificateFiles(
            certificate=self.https_certificate_file,
            private_key=self.https_private_key_file,
            passphrase=self.https_private_key_passphrase_file,
        )

    def is_shared(self, address: str) -> bool:
        """Tell whether many clients may have an address: this machine's own, or one that was named.

        A proxy on this machine has a loopback address; whoever is on it might as well stop us.
        """
        with suppress(ValueError):
            parsed = ip_address(address.partition("%")[0])
            parsed = getattr(parsed, "ipv4_mapped", None) or parsed
            return parsed.is_loopback or any(parsed in each for each in self.shared_addresses)
        return False

    def redacted(self) -> dict[str, object]:
        """Return the settings by the names of their flags, for everybody to see."""
        names = [name for name in self.__slots__ if name != "origins"]
        return {name.replace("_", "-"): _redact(getattr(self, name)) for name in names}


def _redact(value: object) -> object:
    if isinstance(value, ApiToken):
        return "redacted"
    if isinstance(value, JournalUrl):
        return str(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return to_unicode(str(value)) if isinstance(value, Path | str) else value


def check_settings(settings: Settings) -> None:
    """Check what no single flag can tell.

    Raises:
        SettingsError: Something is missing or contradicts something else.
    """
    if settings.api_token is None and settings.api_token_file is None:
        message = (
            "an API token is needed: add --api-token or set EVERLOG_API_TOKEN, or name a file that "
            "holds it with --api-token-file; 'everlog generate api-token' makes one"
        )
        raise SettingsError(message)
    if settings.api_token is not None and settings.api_token_file is not None:
        message = "the API token must come from one place: a token, or a file that holds it"
        raise SettingsError(message)
    if (settings.data_directory is None) == (not settings.data_directory_temporary):
        message = (
            "a data directory is needed, and only one: add --data-directory <directory>, or "
            "--data-directory-temporary for one that is deleted at the end"
        )
        raise SettingsError(message)
    if 0 < settings.rate_limit < WRITE_COST:
        message = (
            f"--rate-limit must be 0 for none, or {WRITE_COST} at least: that is what a write costs"
        )
        raise SettingsError(message)
    if (settings.checkpoint_key_file is None) != (settings.checkpoint_origin is None):
        message = (
            "checkpoints need a key and a name: add both --checkpoint-key-file and "
            "--checkpoint-origin; 'everlog generate checkpoint-key' makes one"
        )
        raise SettingsError(message)
    if settings.checkpoint_origin is not None:
        parse_origin(settings.checkpoint_origin)
    if settings.processes > 1 and settings.journal is not None:
        message = (
            "--processes and --journal exclude each other: where nodes share a journal, run more "
            "nodes"
        )
        raise SettingsError(message)
    _check_witnesses(settings)
    _check_journal(settings)
    _check_following(settings)
    _check_ui(settings)
    if not settings.http_enabled and not settings.https_enabled:
        message = "nothing to listen on: leave HTTPS enabled, or add --http-enabled"
        raise SettingsError(message)
    if settings.https_enabled and None in {
        settings.https_certificate_file,
        settings.https_private_key_file,
    }:
        message = (
            "HTTPS is on by default and needs --https-certificate-file and "
            "--https-private-key-file; to go without, add --https-enabled=false --http-enabled"
        )
        raise SettingsError(message)


def _check_journal(settings: Settings) -> None:
    if settings.journal is None:
        for name in ("journal_password_file", "journal_ca_file", "journal_credentials_file"):
            if getattr(settings, name) is not None:
                message = f"--{name.replace('_', '-')} is of use with --journal only"
                raise SettingsError(message)
        if settings.reads != READS_CURRENT:
            message = "--reads is of use with --journal only: one server is always current"
            raise SettingsError(message)


def _check_following(settings: Settings) -> None:
    if settings.follow is None:
        for name in ("follow_token_file", "follow_ca_file"):
            if getattr(settings, name) is not None:
                message = f"--{name.replace('_', '-')} is of use with --follow only"
                raise SettingsError(message)
        return
    _check_source_url(settings.follow)
    if settings.follow_token_file is None:
        message = "who follows a server needs its token: add --follow-token-file"
        raise SettingsError(message)
    if settings.journal is not None:
        message = (
            "--follow and --journal exclude each other: the events come from another server, or "
            "from a journal"
        )
        raise SettingsError(message)
    if settings.read_only:
        message = (
            "--follow and --read-only exclude each other: a follower takes the events of its "
            "source, and refuses all others anyway"
        )
        raise SettingsError(message)


def _check_ui(settings: Settings) -> None:
    for name in ("ui_title", "ui_colour"):
        if not settings.with_ui and getattr(settings, name) is not None:
            message = f"--{name.replace('_', '-')} is of use with --with-ui only"
            raise SettingsError(message)


def _check_source_url(url: str) -> None:
    parts = urlsplit(url)
    try:
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    is_plain = url.isascii() and url.isprintable() and not (set(url) & set(" ?#@"))
    if not (is_url and is_plain):
        # What is wrong with it is not repeated: there may be a password in it.
        message = (
            "--follow takes a URL that begins with https:// or http://, and has neither a user nor "
            "a query, such as https://events.example.com:4000"
        )
        raise SettingsError(message)


def is_private(url: str) -> bool:
    """Tell whether nobody but its ends can read what is sent to a URL."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def _check_witnesses(settings: Settings) -> None:
    if settings.witness and settings.checkpoint_key_file is None:
        message = "a witness needs checkpoints to cosign: add --checkpoint-key-file"
        raise SettingsError(message)
    names = [witness.key.name for witness in settings.witness]
    for name in names:
        if names.count(name) > 1 or name == settings.checkpoint_origin:
            message = f"the witness {name!r} is given twice, or has the name of the log"
            raise SettingsError(message)


def parse_ui_title(text: str) -> str:
    """Return a title for the pages of the management UI.

    Raises:
        SettingsError: It is none.
    """
    title = text.strip()
    if not title or len(title) > UI_TITLE_LENGTH_MAX or not title.isprintable():
        message = f"it must be 1 to {UI_TITLE_LENGTH_MAX} characters that can be seen"
        raise SettingsError(message)
    return title


def parse_ui_colour(text: str) -> str:
    """Return a colour as #rrggbb, given so or by one of the names in `UI_COLOURS`.

    Raises:
        SettingsError: It is none.
    """
    colour = UI_COLOURS.get(text.lower(), text.lower())
    if _COLOUR.fullmatch(colour) is None:
        message = f"it must be one of {', '.join(UI_COLOURS)}, or have the form #rrggbb"
        raise SettingsError(message)
    return colour


def parse_witness(text: str) -> WitnessAddress:
    """Return a witness, given as its URL, an equals sign and its verifier key.

    Raises:
        SettingsError: It is none.
    """
    url, _, key = text.partition("=")
    parts = urlsplit(url)
    try:
        is_url = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and url.isascii()
            and url.isprintable()
            and not (parts.query or parts.fragment or parts.username or " " in url)
        )
    except ValueError:
        is_url = False
    if not is_url:
        message = (
            "a witness is given as URL=VERIFIERKEY, where the URL begins with https:// or http:// "
            "and has neither a user nor a query"
        )
        raise SettingsError(message)
    try:
        return WitnessAddress(url, _parse_witness_key(key))
    except ValueError as error:
        message = f"the verifier key of the witness {url}: {error}"
        raise SettingsError(message) from error


def _parse_witness_key(text: str) -> VerifierKey:
    key = VerifierKey.parse(text)
    if key.type is SignatureType.ED25519:
        message = "it is that of a log, and not of a witness: its type must be 04 or 06"
        raise ValueError(message)
    return key


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the addresses and networks in a text, between commas.

    Raises:
        SettingsError: One of them is neither.
    """
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        message = f"they must be addresses or networks, such as 10.0.0.7 or 10.1.0.0/16: {error}"
        raise SettingsError(message) from error


def is_loopback(host: str) -> bool:
    """Tell whether what listens there is for this machine only; a name is resolved by nobody."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"

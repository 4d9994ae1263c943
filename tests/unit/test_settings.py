"""What settings mean, before anything is started."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from everlog.credentials.certificate import CertificateFiles
from everlog.domain.chain import HashVersion
from everlog.domain.errors import SettingsError
from everlog.settings import (
    UI_COLOURS,
    UI_TITLE_LENGTH_MAX,
    JournalUrl,
    Settings,
    check_settings,
    is_loopback,
    is_private,
    parse_networks,
    parse_ui_colour,
    parse_ui_title,
    parse_witness,
)
from tests.support.signed_notes import COSIGNATURE, NoteKey, ml_dsa_44_key


def settings(*, https_enabled: bool) -> Settings:
    return Settings(
        api_token=None,
        api_token_file=Path("token"),
        data_directory=Path("data"),
        data_directory_temporary=False,
        host="localhost",
        http_enabled=True,
        http_port=0,
        https_enabled=https_enabled,
        https_port=0,
        https_certificate_file=Path("tls.crt"),
        https_private_key_file=Path("tls.key"),
        https_private_key_passphrase_file=Path("passphrase"),
        shared_addresses=parse_networks("10.0.0.7, 10.1.0.0/16,2001:db8::/32"),
        processes=1,
        rate_limit=0,
        query_time_limit=1,
        signing_key_file=None,
        hash_version=HashVersion.V2,
        checkpoint_key_file=None,
        checkpoint_origin=None,
        witness=(),
        read_only=False,
        journal=None,
        journal_password_file=None,
        journal_ca_file=None,
        journal_credentials_file=None,
        journal_replicas=3,
        reads="current",
        node="node",
        follow=None,
        follow_token_file=None,
        follow_ca_file=None,
        with_ui=False,
        ui_title=None,
        ui_colour=None,
        log_level="info",
        log_format="auto",
    )


def test_files_of_a_certificate_count_where_https_is_on() -> None:
    files = CertificateFiles(
        certificate=Path("tls.crt"), private_key=Path("tls.key"), passphrase=Path("passphrase")
    )

    assert settings(https_enabled=True).certificate_files == files
    assert settings(https_enabled=False).certificate_files is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_some_hosts_are_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "everlog.test", "localhost.everlog.test"]
)
def test_every_other_host_may_be_reached_from_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.0.0.2",
        "::1",
        "10.0.0.7",
        "::ffff:10.0.0.7",
        "10.1.255.255",
        "2001:db8::9%1",
    ],
)
def test_loopback_and_the_addresses_that_were_named_are_shared(address: str) -> None:
    assert settings(https_enabled=False).is_shared(address)


@pytest.mark.parametrize("address", ["10.0.0.8", "10.2.0.0", "2001:db9::1", "192.0.2.1", ""])
def test_every_other_address_is_one_client(address: str) -> None:
    assert not settings(https_enabled=False).is_shared(address)


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.7/8", "10.0.0.0/40", "1.2.3"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="such as 10"):
        parse_networks(text)


def test_no_network_is_none() -> None:
    assert parse_networks("") == parse_networks(" , ") == ()


def test_the_options_are_shown_as_they_were_given() -> None:
    assert settings(https_enabled=False).redacted()["shared-addresses"] == (
        "10.0.0.7/32,10.1.0.0/16,2001:db8::/32"
    )


WITNESS = NoteKey("w.example/1", COSIGNATURE)


@pytest.mark.parametrize("url", ["https://w.example", "http://10.0.0.7:8080/a/b/", "http://[::1]"])
@pytest.mark.parametrize("key", [WITNESS, ml_dsa_44_key("w.example/2")], ids=["4", "6"])
def test_a_witness_is_a_url_and_a_verifier_key(url: str, key: NoteKey) -> None:
    witness = parse_witness(f"{url}={key.verifier_key}")

    assert (witness.url, str(witness.key)) == (url, key.verifier_key)
    assert str(witness) == f"{url}={key.verifier_key}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "w.example",
        "ftp://w.example",
        "https://",
        "https://user:secret@w.example",
        "https://w.example?a",
        "https://w.example#a",
        "https://w.example:99999",
        "https://w.example:0",
        "https://w.exam ple",
        "https://w.example/\u00e4",
    ],
)
def test_what_is_no_url_of_a_witness_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="URL=VERIFIERKEY") as raised:
        parse_witness(f"{url}={WITNESS.verifier_key}")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "key, reason",
    [
        ("", r"NAME\+HASH\+KEY"),
        (WITNESS.verifier_key[:-4], "not copied as a whole"),
        (NoteKey("w.example/1").verifier_key, "that of a log, and not of a witness"),
    ],
    # Keys are made anew by each process that runs tests.
    ids=["no key", "a part of one", "another's"],
)
def test_what_is_no_key_of_a_witness_is_refused(key: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_witness(f"https://w.example={key}")


def proving(*, origin: str | None = "log.example.com", witness_count: int = 0) -> Settings:
    witnesses = [parse_witness(f"https://w={WITNESS.verifier_key}")] * witness_count
    return replace(
        settings(https_enabled=True),
        checkpoint_key_file=None if origin is None else Path("key.pem"),
        checkpoint_origin=origin,
        witness=tuple(witnesses),
    )


def test_checkpoints_need_a_key_and_a_name_and_witnesses_need_checkpoints() -> None:
    check_settings(proving())
    check_settings(proving(witness_count=1))
    for wrong, reason in (
        (replace(proving(), checkpoint_origin=None), "add both --checkpoint-key-file and"),
        (replace(proving(), checkpoint_key_file=None), "add both --checkpoint-key-file and"),
        (proving(origin="a b"), "the origin names the log"),
        (proving(origin=None, witness_count=1), "add --checkpoint-key-file"),
        (proving(witness_count=2), "'w.example/1' is given twice"),
        (proving(origin="w.example/1", witness_count=1), "has the name of the log"),
    ):
        with pytest.raises(SettingsError, match=reason):
            check_settings(wrong)


def test_who_follows_needs_a_token_and_may_not_have_a_journal_nor_be_read_only() -> None:
    followed = "https://events.example.com:4000/prefix"
    following = replace(
        settings(https_enabled=True), follow=followed, follow_token_file=Path("token")
    )

    check_settings(following)
    check_settings(replace(following, follow_ca_file=Path("ca")))
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"follow_token_file": None}, "add --follow-token-file"),
        ({"read_only": True}, "--follow and --read-only exclude each other"),
        ({"journal": JournalUrl("nats://x/y")}, "--follow and --journal exclude each other"),
        ({"follow": None}, "--follow-token-file is of use with --follow only"),
    )
    for change, reason in changes:
        with pytest.raises(SettingsError, match=reason):
            check_settings(replace(following, **change))


@pytest.mark.parametrize(
    "url",
    [
        "events.example.com",
        "ftp://events.example.com",
        "https://",
        "https://user:password@events.example.com",
        "https://events.example.com?a=password",
        "https://events.example.com#password",
        "https://events.example.com:99999",
        "https://events.example.com:0",
        "https://ev\u00e4nts.example.com",
        "https://events example.com",
        "",
    ],
)
def test_a_url_that_cannot_be_followed_is_refused_and_not_shown(url: str) -> None:
    following = replace(settings(https_enabled=True), follow=url, follow_token_file=Path("token"))

    with pytest.raises(SettingsError, match="--follow takes a URL") as refusal:
        check_settings(following)

    assert "password" not in str(refusal.value)


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://events.example.com", True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:3000", True),
        ("http://events.example.com", False),
        ("http://10.0.0.7", False),
    ],
)
def test_plain_http_is_private_on_one_machine_only(
    url: str,
    expected: bool,  # noqa: FBT001 - a case
) -> None:
    assert is_private(url) is expected


def test_what_the_ui_shows_is_of_use_where_there_is_one_only() -> None:
    plain = settings(https_enabled=True)

    for name, value in (("ui_title", "Orders"), ("ui_colour", "#b3261e")):
        with_it: dict[str, Any] = {name: value}
        check_settings(replace(plain, with_ui=True, **with_it))
        with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')} .*--with-ui only"):
            check_settings(replace(plain, **with_it))


@pytest.mark.parametrize(
    "text", ["Orders, production", " M\u00fcnchen ", "x" * UI_TITLE_LENGTH_MAX]
)
def test_a_title_of_the_ui_is_taken_without_the_space_around_it(text: str) -> None:
    assert parse_ui_title(text) == text.strip()


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\u202eabc", "x" * (UI_TITLE_LENGTH_MAX + 1)])
def test_what_cannot_be_seen_is_no_title_of_the_ui(text: str) -> None:
    with pytest.raises(SettingsError, match="1 to 64 characters"):
        parse_ui_title(text)


@pytest.mark.parametrize("text", [*UI_COLOURS, "RED", "#00ff7F"])
def test_a_colour_of_the_ui_is_one_that_styles_know(text: str) -> None:
    assert re.fullmatch("#[0-9a-f]{6}", parse_ui_colour(text))


@pytest.mark.parametrize("text", ["", "pink", "#fff", "#b3261e;", "b3261e", "url(x)"])
def test_what_is_no_colour_is_told_what_is(text: str) -> None:
    with pytest.raises(SettingsError, match=r"red, orange, .* or have the form #rrggbb"):
        parse_ui_colour(text)


def test_white_text_can_be_read_on_every_colour_with_a_name() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return sum(
            weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
        )

    assert min(1.05 / (luminance(colour) + 0.05) for colour in UI_COLOURS.values()) >= 4.5

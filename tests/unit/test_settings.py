"""What settings mean, before anything is started."""

from pathlib import Path

import pytest

from everlog.credentials.certificate import CertificateFiles
from everlog.domain.chain import HashVersion
from everlog.domain.errors import SettingsError
from everlog.settings import Settings, is_loopback, parse_networks


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
        rate_limit=0,
        query_time_limit=1,
        signing_key_file=None,
        hash_version=HashVersion.V2,
        checkpoint_key_file=None,
        checkpoint_origin=None,
        witness=(),
        read_only=False,
        log_level="info",
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

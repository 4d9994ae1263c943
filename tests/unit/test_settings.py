"""What settings mean, before anything is started."""

import pytest

from everlog.settings import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_some_hosts_are_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "everlog.test", "localhost.everlog.test"]
)
def test_every_other_host_may_be_reached_from_elsewhere(host: str) -> None:
    assert not is_loopback(host)

from pathlib import Path

import pytest

from everlog.domain.errors import SettingsError
from everlog.journals.nats_connection import Access, parse_url


@pytest.mark.parametrize(
    "url, servers, user, secret",
    [
        ("nats://localhost/everlog", "localhost:4222", "", ""),
        ("nats://a:1,b,[::1]:3,[::2]/everlog", "a:1 b:4222 [::1]:3 [::2]:4222", "", ""),
        ("nats://u:p@a,b/everlog", "a:4222 b:4222", "u", "p"),
        ("nats://token@a/everlog", "a:4222", "", "token"),
        ("nats://u:p%40%2F@a/everlog", "a:4222", "u", "p@/"),
        ("nats://u:p@ss@a/everlog", "a:4222", "u", "p@ss"),
        ("nats://u:@a/everlog", "a:4222", "u", ""),
        ("tls://a/everlog", "a:4222", "", ""),
    ],
)
def test_a_url_says_where_the_servers_are_and_who_we_are(
    url: str, servers: str, user: str, secret: str
) -> None:
    target = parse_url(url)
    assert list(target.servers) == servers.split()
    assert (target.user, target.secret, target.stream) == (user, secret, "everlog")
    assert target.is_tls == url.startswith("tls")


@pytest.mark.parametrize(
    "url, complaint",
    [
        ("http://u:hidden@a/s", "does not begin with nats:// or tls://"),
        ("nats://u:hidden@a", "must end with the name of a stream"),
        ("nats://u:hidden@a/", "must end with the name of a stream"),
        ("nats://u:hidden@a/s/t", "must end with the name of a stream"),
        ("nats://u:hidden@a/s.t", "must end with the name of a stream"),
        (f"nats://u:hidden@a/{65 * 's'}", "must end with the name of a stream"),
        ("nats://u:hidden@/s", "names no server"),
        ("nats://u:hidden@a,,b/s", "names no server, or one of several is empty"),
        ("nats://u:hidden@a:b/s", "names a server whose port is none"),
        ("nats://u:hidden@a:70000/s", "names a server whose port is none"),
        ("nats://u:hidden@[::1/s", "port is none"),
        ("nats://u:hidden@a/s?tls=true", "has something behind the stream's name"),
        ("nats://u:hidden@a/s#t", "has something behind the stream's name"),
    ],
)
def test_what_is_no_url_is_refused_without_being_repeated(url: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_url(url)
    assert complaint in str(caught.value)
    assert "hidden" not in repr(caught.value)


def test_there_is_one_way_to_say_who_we_are(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    with pytest.raises(SettingsError, match="exclude each other"):
        _access("nats://u:p@a/s", password_file=file)
    with pytest.raises(SettingsError, match="exclude each other"):
        _access("nats://u:@a/s", password_file=file, credentials_file=file)


def test_a_file_has_the_password_of_the_user_in_the_url_or_else_a_token(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    with_user = _access("nats://u:@a/s", password_file=file)
    assert with_user.options().items() >= {("user", "u"), ("password", "secret")}
    without = _access("nats://a/s", password_file=file)
    assert without.options()["token"] == "secret"
    # What is in it now counts when there is a connection to be made.
    file.write_text("another")
    assert without.options()["token"] == "another"


@pytest.mark.parametrize("name", ["credentials_file", "password_file", "ca_file"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"missing.*No such file"):
        _access("nats://a/s", **{name: tmp_path / "missing"})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(
            "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n", id="no seed"
        ),
        pytest.param(
            "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n"
            "-----BEGIN USER NKEY SEED-----\nSUSECRET\n------END USER NKEY SEED------\n",
            id="a short seed",
        ),
        pytest.param(
            "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n"
            "-----BEGIN USER NKEY SEED-----\nSU1SECRET\n------END USER NKEY SEED------\n",
            id="no seed at all",
        ),
    ],
)
def test_what_are_no_credentials_is_refused_without_being_repeated(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "user.creds"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"user\.creds is none: it must hold") as caught:
        _access("nats://a/s", credentials_file=file)
    assert "SECRET" not in str(caught.value)


def _access(url: str, **files: Path) -> Access:
    names = ("credentials_file", "password_file", "ca_file")
    return Access(parse_url(url), **{name: files.get(name) for name in names})

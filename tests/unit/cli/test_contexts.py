"""Context files: which one counts, what it says, and whom it may have a token sent to."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from everlog.cli.contexts import Context, find_context
from everlog.cli.stores import StoreChoice, choose_store

URL = "https://events.example:4000"
OURS = "a-token-of-the-environment"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with a home elsewhere, and a token in the environment."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("EVERLOG_API_TOKEN", OURS)
    return folder


def put(file: Path, *lines: str, mode: int = 0o600) -> Path:
    """Write a context, or a token."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    file.chmod(mode)
    return file


def choose(*given: str, **settings: Any) -> StoreChoice:
    """Return the store that is meant; what is given stands on the command line."""
    names = ("url", "data_directory", "token_file", "ca_file", "context_file")
    nothing: dict[str, Any] = dict.fromkeys(names)
    return choose_store(given=frozenset(given), **(nothing | settings))


def check_refused(*texts: str, use: Callable[[], object] = lambda: find_context(None)) -> None:
    """Check that a context is refused with these texts, and without any token."""
    with pytest.raises(click.UsageError) as caught:
        use()

    for text in texts:
        assert text in caught.value.message
    assert OURS not in caught.value.message


def found() -> Context:
    context = find_context(None)
    assert context is not None
    return context


def test_the_nearest_context_counts_and_that_at_home_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_context(None) is None

    home = put(Path.home() / ".everlog", f'url = "{URL}"')
    assert (found().file, found().is_chosen) == (home, True)

    above = put(folder / ".everlog", f'url = "{URL}"')
    (folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(folder / "a" / "b")
    assert (found().file, found().is_chosen) == (above, False)

    nearer = put(folder / "a" / ".everlog" / "context.toml", 'data-directory = "../data"')
    assert found().file == nearer
    assert found().data_directory == nearer.parent / ".." / "data"

    named = find_context(home)
    assert named is not None
    assert (named.file, named.is_chosen) == (home, True)
    assert URL not in repr(named)


# Each row: what a context says, and what is said of it.
WRONG = {
    "no-toml": (("a-secret = ",), "no TOML"),
    "no-store": (('token-file = "token"',), "either 'url' or 'data-directory'"),
    "two-stores": ((f'url = "{URL}"', 'data-directory = "d"'), "either 'url' or"),
    "two-tokens": ((f'url = "{URL}"', 'token = "a"', 'token-file = "b"'), "both 'token' and"),
    "unknown-key": ((f'url = "{URL}"', 'a-secret = "a-secret"'), "an unknown key: there are url"),
    "no-text": (("url = 1",), "a 'url' that is no text"),
    "empty": (('url = ""',), "a 'url' that is no text"),
    "too-large": ((f'url = "{URL}"', f"# {'x' * 70_000}"), "more than 65,536 bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_context_is_refused_and_not_quoted(folder: Path, name: str) -> None:
    lines, text = WRONG[name]
    file = put(folder / ".everlog", *lines)

    with pytest.raises(click.UsageError) as caught:
        find_context(None)
    assert text in caught.value.message
    assert str(file) in caught.value.message
    assert "a-secret" not in caught.value.message


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_context_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    file = put(folder / ".everlog", f'url = "{URL}"', mode=mode)

    check_refused(f"chmod go-w {file}")
    check_refused(f"chmod go-w {file}", use=lambda: find_context(file))


def test_a_context_of_somebody_else_is_taken_only_if_it_was_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(folder / ".everlog", f'url = "{URL}"')
    fstat = os.fstat

    def of(owner: int) -> Callable[[int], os.stat_result]:
        def show(number: int) -> os.stat_result:
            status = list(fstat(number))
            status[stat.ST_UID] = owner
            return os.stat_result(status)

        return show

    with monkeypatch.context() as patch:
        # Whoever runs the tests as root is somebody all the same.
        patch.setattr(os, "geteuid", lambda: 1_000)
        patch.setattr(os, "fstat", of(1_001))
        check_refused("belongs to somebody else", "--context")
        assert find_context(file) is not None

        # Root could have a token sent anywhere without that.
        for owner in (0, 1_000):
            patch.setattr(os, "fstat", of(owner))
            assert found().file == file


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_context_that_holds_a_token_is_for_its_owner_alone(folder: Path, mode: int) -> None:
    file = put(folder / ".everlog", f'url = "{URL}"', f'token = "{OURS}"', mode=mode)
    check_refused(f"chmod 600 {file}")

    file.chmod(0o600)
    assert choose().token == OURS


def test_a_token_file_of_a_context_that_was_found_lies_below_it(folder: Path) -> None:
    outside = put(folder.parent / "token", "a-token-of-others")
    (folder / "link").symlink_to(outside)
    (folder / "below").symlink_to(folder.parent)
    for name in ("../token", str(outside), "link", "below/token", "~/token"):
        file = put(folder / ".everlog", f'url = "{URL}"', f'token-file = "{name}"')
        check_refused("a 'token-file' outside of", "--context")

        named = find_context(file)
        assert named is not None
        assert named.token_file is not None

    put(folder / "tokens" / "mine", "a-token-of-its-own")
    put(folder / ".everlog", f'url = "{URL}"', 'token-file = "tokens/mine"')
    assert choose().token == "a-token-of-its-own"


def test_the_token_of_the_environment_never_goes_where_a_context_was_found_to_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(folder / ".everlog", f'url = "{URL}"')
    token_file = put(folder.parent / "token", OURS)
    check_refused("names no token", "--context", use=choose)
    check_refused("names no token", use=lambda: choose(token_file=token_file))

    # Whoever names the context, the URL, or a file on the command line says whom it is for.
    assert choose(context_file=file).token == OURS
    assert choose("context_file", context_file=file, token_file=token_file).token == OURS
    assert choose("api_token_file", token_file=token_file).token == OURS
    assert choose("url", url=URL).token == OURS

    # One at home is of whoever has that home.
    file.rename(Path.home() / ".everlog")
    assert choose().token == OURS

    # A token of a context goes to the URL of that context, and to no other.
    monkeypatch.delenv("EVERLOG_API_TOKEN")
    put(folder / ".everlog", f'url = "{URL}"', 'token = "a-token-of-its-own"')
    assert choose("url", url=f"{URL}/").token == "a-token-of-its-own"
    check_refused("a token is needed", use=lambda: choose("url", url="https://other.example"))


def test_the_command_line_counts_more_than_variables_and_those_than_a_context(
    folder: Path,
) -> None:
    named = put(folder / "named.toml", 'data-directory = "named"')
    put(folder / ".everlog", 'data-directory = "found"')
    data = Path("given")

    assert choose().directory == folder / "found"
    assert choose(context_file=named).directory == folder / "named"
    assert choose("context_file", context_file=named, url=URL).directory == folder / "named"
    assert choose(data_directory=data).directory == data
    assert choose("url", url=URL, data_directory=data, context_file=named).url == URL
    assert choose("data_directory", url=URL, data_directory=data).directory == data
    check_refused(
        "exclude each other",
        use=lambda: choose("url", "data_directory", url=URL, data_directory=data),
    )
    check_refused(
        "--context excludes",
        use=lambda: choose("url", "context_file", url=URL, context_file=named),
    )


@pytest.mark.usefixtures("folder")
def test_what_stands_before_an_address_is_not_told() -> None:
    choice = choose("url", url=f"https://me:{OURS}@events.example")

    assert choice.name == "https://events.example"
    assert OURS not in repr(choice)

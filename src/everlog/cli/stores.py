"""Which store a command works with, and how it gets there: flags, variables, or a context.

The token is taken from the environment or a file only: on a command line everybody could see it.
It is never printed, and what cannot be a token is refused before anything could quote it. A token
goes to whom it was given for: one from the environment not to a URL that a context was found to
name.
"""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from everlog.cli.contexts import Context, find_context
from everlog.credentials.token import FILE_SIZE_MAX

if TYPE_CHECKING:
    from everlog.library.store import Store

TOKEN_VARIABLE: Final = "EVERLOG_API_TOKEN"  # noqa: S105 - the name of a variable.

# Whoever opens it says what is wrong with it, and knows the exit code.
FILE: Final = click.Path(path_type=Path, readable=False)

# A server says something each second.
_SILENCE_SECONDS_MAX: Final = 30.0

_Command = TypeVar("_Command", bound=Callable[..., Any])


class StoreChoice(NamedTuple):
    """A server, by its URL, or a data directory; the other one is None."""

    url: str | None
    directory: Path | None
    token: str
    ca_file: Path | None
    # The context that says so, None where flags or variables do.
    context: Path | None = None

    def __repr__(self) -> str:
        """Show which store it is, and not the token."""
        return f"StoreChoice({self.name})"

    @property
    def name(self) -> str:
        """The store, for messages."""
        name = str(self.directory) if self.url is None else _without_password(self.url)
        return name if self.context is None else f"{name} (of {self.context})"

    def open(
        self,
        *,
        is_writer: bool = False,
        signing_key_file: Path | None = None,
        on_read: Callable[[int, int], None] = lambda *_: None,
    ) -> "Store":
        """Return the store. Who only reads a data directory keeps nobody else out of it.

        The key and what is told of reading are for a data directory that is only read.

        Raises:
            EverlogError: It cannot be opened, or is no store.
            click.UsageError: The URL or the certificates cannot be used.
        """
        # The library is imported with the part of it that is asked for.
        if self.directory is not None and is_writer:
            import everlog

            return everlog.open(self.directory)
        if self.directory is not None:
            from everlog.cli.directory import DirectoryTransport
            from everlog.library.store import Store

            transport = DirectoryTransport(
                self.directory, signing_key_file=signing_key_file, on_read=on_read
            )
            return Store(transport)
        import everlog

        assert self.url is not None
        try:
            return everlog.connect(self.url, token=self.token, ca_file=self.ca_file)
        except (OSError, ValueError) as error:
            raise click.UsageError(f"{self.name} cannot be asked: {error}") from error


def server_options(command: _Command) -> _Command:
    """Give a command the options that say which server is asked, and how it is trusted."""
    for decorate in (
        click.option(
            "--ca-file",
            "--https-certificate-file",
            type=FILE,
            envvar=["EVERLOG_CA_FILE", "EVERLOG_HTTPS_CERTIFICATE_FILE"],
            show_envvar=True,
            help="Certificates to trust besides those that the system trusts, PEM.",
        ),
        click.option(
            "--api-token-file",
            type=FILE,
            envvar="EVERLOG_API_TOKEN_FILE",
            show_envvar=True,
            help=f"A file whose first line is the token; without it, {TOKEN_VARIABLE} counts.",
        ),
        click.option(
            "--url",
            envvar="EVERLOG_URL",
            show_envvar=True,
            help="The address of a server, such as https://localhost:4000.",
        ),
    ):
        command = decorate(command)
    return command


def store_options(command: _Command) -> _Command:
    """Give a command the options that say which store it works with, as its argument `store`."""

    @server_options
    @click.option(
        "--data-directory",
        type=FILE,
        envvar="EVERLOG_DATA_DIRECTORY",
        show_envvar=True,
        help="A data directory instead of a server.",
    )
    @click.option(
        "--context",
        "context_file",
        type=FILE,
        envvar="EVERLOG_CONTEXT",
        show_envvar=True,
        help="A context file, instead of the nearest .everlog.",
    )
    @click.pass_context
    @wraps(command)
    def run(
        context: click.Context,
        /,
        url: str | None,
        api_token_file: Path | None,
        ca_file: Path | None,
        data_directory: Path | None,
        context_file: Path | None,
        **others: Any,
    ) -> Any:
        store = choose_store(
            given=_sources(context),
            url=url,
            data_directory=data_directory,
            token_file=api_token_file,
            ca_file=ca_file,
            context_file=context_file,
        )
        return command(store=store, **others)

    return run  # type: ignore[return-value] # It has fewer parameters: this is what it is for.


def _sources(context: click.Context) -> frozenset[str]:
    """Return the names of parameters that stand on the command line."""
    return frozenset(
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    )


def choose_store(
    *,
    given: frozenset[str],
    url: str | None,
    data_directory: Path | None,
    token_file: Path | None,
    ca_file: Path | None,
    context_file: Path | None,
) -> StoreChoice:
    """Return the store that is meant: flags count more than variables, and those than a context.

    Raises:
        click.UsageError: Nobody says which, or it is said twice, or there is no token for it.
    """
    if {"url", "data_directory"} <= given:
        raise click.UsageError("--url and --data-directory exclude each other")
    named = None if given & {"url", "data_directory"} else context_file
    if "context_file" in given and named is None:
        raise click.UsageError("--context excludes --url and --data-directory")
    is_directory = data_directory is not None and (url is None or "data_directory" in given)
    if named is None and is_directory:
        return StoreChoice(None, data_directory, "", None)
    if named is None and url is not None:
        return StoreChoice(url, None, _token_for(url, token_file), ca_file)
    context = find_context(named)
    if context is None:
        raise click.UsageError(
            "say which store: --url for a server, or --data-directory; a variable or a context "
            "file says it for all commands"
        )
    if context.data_directory is not None:
        return StoreChoice(None, context.data_directory, "", None, context.file)
    token = _token_of(context, token_file if "api_token_file" in given else None, token_file)
    return StoreChoice(context.url, None, token, ca_file or context.ca_file, context.file)


def _token_for(url: str, token_file: Path | None) -> str:
    """Return the token for a URL that was given: a context's too, if it is of this URL."""
    if token_file is not None or os.environ.get(TOKEN_VARIABLE):
        return _find_token(token_file)
    context = find_context(None)
    if context is not None and (context.url or "").rstrip("/") == url.rstrip("/"):
        return _token_of(context, None, None)
    return _find_token(None)


def _token_of(context: Context, given: Path | None, variable: Path | None) -> str:
    if given is not None:
        return _find_token(given)
    if context.token is not None:
        return _check_token(context.token)
    if context.token_file is not None:
        return _find_token(context.token_file)
    if context.is_chosen:
        return _find_token(variable)
    raise click.UsageError(
        f"the context {context.file} names no token, and those of the environment are not for the "
        "URL of a context that was only found: add 'token-file', or name it with --context"
    )


def _find_token(file: Path | None) -> str:
    """Return the token from a file, or without one from the environment."""
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    else:
        try:
            with file.open("rb") as lines:
                line = lines.readline(FILE_SIZE_MAX)
        except OSError as error:
            raise click.UsageError(f"the token cannot be used: {error}") from error
        token = line.decode("ascii", errors="replace").strip()
    if not token:
        raise click.UsageError(
            f"a token is needed: set {TOKEN_VARIABLE}, or --api-token-file, or a context's "
            "'token-file'"
        )
    return _check_token(token)


def _check_token(token: str) -> str:
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError(
            "the token cannot be used: the token has characters other than printable ASCII"
        )
    return token


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"

"""`everlog completion`: what makes a shell complete commands, flags and names.

The script asks the command itself, each time: click answers. Commands are listed from their table,
so that none is imported for that. Subjects are asked of the store that the command line, variables
or a context name; whoever cannot answer at once completes nothing.
"""

from typing import Any, Final

import click
from click.shell_completion import get_completion_class

from everlog.cli.stores import choose_store

SHELLS: Final = ("bash", "zsh", "fish")

# More are no help to anybody.
_COUNT_MAX: Final = 200
_SECONDS_MAX: Final = 1.0

_HELP: Final = """Print what makes a shell complete commands.

It completes commands, flags, choices, files, and subjects of the store that is meant.

\b
Examples:
  everlog completion bash > ~/.local/share/bash-completion/completions/everlog
  everlog completion zsh > ~/.zfunc/_everlog          (with fpath+=~/.zfunc in ~/.zshrc)
  everlog completion fish > ~/.config/fish/completions/everlog.fish
  source <(everlog completion bash)                   (for this shell alone)
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "everlog", "_EVERLOG_COMPLETE")
    # Not `source`, which looks which bash there is: the script may be for another machine.
    click.echo(script.source_template % script.source_vars())


def complete_from_store(context: click.Context, incomplete: str) -> list[str]:
    """Return the subjects that begin like this, none where that cannot be told at once."""
    try:
        chosen = _choose(context.params)
        if chosen.url is not None:
            import everlog

            opened = everlog.connect(
                chosen.url,
                token=chosen.token,
                ca_file=chosen.ca_file,
                timeout=_SECONDS_MAX,
                connect_timeout=_SECONDS_MAX,
            )
        else:
            opened = chosen.open()
        # The folder in which the name is that is being written; the store knows whole names only.
        folder = incomplete.rpartition("/")[0] or "/"
        found: list[str] = []
        with opened:
            for subject in opened.subjects(folder):
                if subject.startswith(incomplete):
                    found.append(subject)
                if len(found) >= _COUNT_MAX:
                    break
    except Exception:  # noqa: BLE001 - who presses a key wants no message.
        return []
    return found


def _choose(params: dict[str, Any]) -> Any:
    return choose_store(
        given=frozenset(name for name in ("url", "data_directory") if params.get(name)),
        url=params.get("url"),
        data_directory=params.get("data_directory"),
        token_file=params.get("api_token_file"),
        ca_file=params.get("ca_file"),
        context_file=params.get("context_file"),
    )
